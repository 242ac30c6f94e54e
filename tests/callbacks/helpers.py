"""Runs that die, for the tests of resuming."""

import csv
import os
import signal

import pytorch_lightning as pl
import torch

from spg_lightning import compose, train
from tests.conftest import TINY

SMALL = (
    *TINY, "dataset.resize=36", "dataset.crop=32", "trainer.max_epochs=3", "gallery_images=0", "report_images=0",
    "callbacks.progress=null", "data.eval_batch_size=5", "logger=csv",
)  # fmt: skip
TIMES = ("train/images_per_second", "train/step_seconds", "train/data_wait_seconds", "train/memory_gb")


class Died(BaseException):
    """Ends a run in place of a signal or a power cut."""


class Dies(pl.Callback):
    """Ends a run after a step: like a power cut, or by a signal to itself."""

    def __init__(self, after_step, by=None, hook="on_train_batch_end"):
        self.after_step, self.by = after_step, by
        setattr(self, hook, self.act)

    def act(self, trainer, *arguments):
        if trainer.global_step == self.after_step:
            if self.by is None:
                raise Died
            os.kill(os.getpid(), getattr(signal, self.by))


class Spoils(pl.Callback):
    """Makes a weight non-finite, as an update can although its loss was finite."""

    def on_train_batch_end(self, trainer, module, *arguments):
        if trainer.global_step == 3:
            module.network.a4.weight.data[0] = torch.inf


def run(data, folder, *overrides):
    return train(compose("train", [*SMALL, f"dataset.root={data}", f"output_dir={folder}", *overrides]))


def dies(step, by="null", hook="on_train_batch_end"):
    """Overrides for a run that ends after a step."""
    return (
        "+callbacks.dies._target_=tests.callbacks.helpers.Dies", f"+callbacks.dies.after_step={step}",
        f"+callbacks.dies.by={by}", f"+callbacks.dies.hook={hook}",
    )  # fmt: skip


def weights(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def rows(folder, ignore=()):
    """The rows of metrics.csv, without empty cells and wall time, in their order."""
    with (folder / "metrics.csv").open() as file:
        told = [{k: v for k, v in row.items() if v and k not in (*TIMES, *ignore)} for row in csv.DictReader(file)]
    return [row for row in told if row.keys() - {"epoch", "step"}]


def assert_same(folder, reference, ignore=()):
    """Bit by bit the same weights, the same numbers, the same log."""
    for name in ("last", "best"):
        one, other = weights(folder, name), weights(reference, name)
        assert one.keys() == other.keys()
        assert [key for key in other if not torch.equal(one[key], other[key])] == []
    assert (folder / "metrics.json").read_text() == (reference / "metrics.json").read_text()
    assert rows(folder, ignore) == rows(reference, ignore)
