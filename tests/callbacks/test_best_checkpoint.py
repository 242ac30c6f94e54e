"""The best weights on val, and what happens without them."""

import json

import pytest

from tests.callbacks.helpers import run


@pytest.mark.parametrize("stale", [False, True])
def test_a_missing_best_checkpoint(cub, whole, tmp_path, caplog, stale):
    more = f"resume={whole / 'checkpoints/resume.ckpt'}" if stale else "trainer.max_epochs=1"
    run(cub, tmp_path, "eval_checkpoint=best", "callbacks.best=null", more)
    assert "eval_checkpoint=best: no validation has written" in caplog.text
    assert json.loads((tmp_path / "provenance.json").read_text())["weights"] == "last"
