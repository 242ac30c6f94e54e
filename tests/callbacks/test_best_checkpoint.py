"""The best weights on val, and what happens without them."""

import json
from types import SimpleNamespace

import pytest

from spg_lightning import UserError
from spg_lightning.callbacks.best_checkpoint import BestCheckpoint
from tests.callbacks.helpers import run


@pytest.mark.parametrize("stale", [False, True])
def test_a_missing_best_checkpoint(cub, whole, tmp_path, caplog, stale):
    more = f"resume={whole / 'checkpoints/resume.ckpt'}" if stale else "trainer.max_epochs=1"
    run(cub, tmp_path, "eval_checkpoint=best", "callbacks.best=null", more)
    assert "eval_checkpoint=best: no validation has written" in caplog.text
    assert json.loads((tmp_path / "provenance.json").read_text())["weights"] == "last"


def test_a_metric_that_nobody_measures():
    trainer = SimpleNamespace(callback_metrics={"val/objective": 1.0}, sanity_checking=False)
    with pytest.raises(UserError, match=r"monitor=val/objektive: no such metric; .* Did you mean 'val/objective'"):
        BestCheckpoint(monitor="val/objektive").on_validation_end(trainer, None)
