"""The moving average of the weights: its numbers, its checkpoints, and going on with it."""

import json
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from spg_lightning import UserError, compose, evaluate, load_network
from spg_lightning.callbacks.ema import EMA
from tests.callbacks.helpers import Died, assert_same, dies, run, weights
from tests.trees import write_cub

EMA_RUN = ("callbacks=ema", "callbacks.ema.decay=0.5", "callbacks.progress=null", "dataset.lr=0.01")
SEEN: list[dict[str, torch.Tensor]] = []


class Notes(pl.Callback):
    """Keeps the weights of every step."""

    def on_train_batch_end(self, trainer, module, *_):
        SEEN.append({name: value.clone() for name, value in module.state_dict().items()})


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("averaging") / "cub", per_class=12)


@pytest.fixture(scope="module")
def whole(cub):
    """Three epochs of three steps: the run folder, its result, the weights of its steps."""
    SEEN.clear()
    folder = cub.parent / "whole"
    result = run(cub, folder, *EMA_RUN, "+callbacks.notes._target_=tests.callbacks.test_ema.Notes")
    return folder, result, list(SEEN)


def test_the_average_is_where_the_weights_will_be():
    """Lightning moves the weights later; an average left behind would draw all of them to the host at each step."""
    average, network = EMA(0.5), pl.LightningModule()
    network.layer = torch.nn.Linear(1, 1)
    device = torch.device("meta")
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=device))
    average.setup(trainer, network, "fit")
    assert {value.device for value in average._average_model.module.parameters()} == {device}


def test_last_ckpt_holds_the_average_and_what_was_evaluated(whole, tmp_path):
    folder, result, seen = whole
    saved = weights(folder)
    assert len(seen) == 9
    for name in ("network.a4.weight", "network.stem.a1.0.weight", "network.stem.a1.1.running_var"):
        average = seen[0][name]
        for state in seen[1:]:
            average = 0.5 * average + 0.5 * state[name]
        torch.testing.assert_close(saved[name], average, rtol=1e-5, atol=1e-7)
        assert not torch.equal(saved[name], seen[-1][name])
    cfg = compose("evaluate", [f"checkpoint={result.checkpoint}", f"output_dir={tmp_path}", "num_workers=0",
                               "gallery_images=0", "report_images=0", "accelerator=cpu", "num_thresholds=50"])  # fmt: skip
    again, told = evaluate(cfg).metrics, json.loads((folder / "metrics.json").read_text())
    assert again == pytest.approx(told)
    load_network(folder / "checkpoints/best.ckpt")


@pytest.mark.parametrize("which", ["last", "best"])
def test_it_goes_on_bit_by_bit(cub, whole, tmp_path, which):
    folder = whole[0]
    best = (f"eval_checkpoint={which}",)
    if which == "best":
        run(cub, tmp_path / "whole", *EMA_RUN, *best)
        folder = tmp_path / "whole"
    for step in (4, 6, 9):
        with pytest.raises(Died):
            run(cub, tmp_path / "died", *EMA_RUN, *best, *dies(step), "checkpoint_every_steps=1", "resume=auto")
    with pytest.raises(Died):
        run(cub, tmp_path / "died", *EMA_RUN, *best, *dies(9, hook="on_test_start"), "resume=auto")
    run(cub, tmp_path / "died", *EMA_RUN, *best, "resume=auto")
    assert_same(tmp_path / "died", folder)
    if which == "best":
        cfg = compose("evaluate", [f"checkpoint={folder / 'checkpoints/best.ckpt'}", f"output_dir={tmp_path / 'again'}",
                                   "num_workers=0", "gallery_images=0", "report_images=0", "accelerator=cpu",
                                   "num_thresholds=50"])  # fmt: skip
        assert evaluate(cfg).metrics == pytest.approx(json.loads((folder / "metrics.json").read_text()))


def test_another_decay_is_another_run(cub, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *EMA_RUN, *dies(2), "checkpoint_every_steps=1")
    with pytest.raises(UserError, match=r"callbacks.ema.decay=0.5 in the checkpoint, 0.9 here"):
        run(cub, tmp_path, *EMA_RUN, "callbacks.ema.decay=0.9", "resume=auto")
    with pytest.raises(UserError, match=r"callbacks.ema.decay=1"):
        EMA(1)
