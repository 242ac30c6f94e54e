"""How fast training goes: photos a second, time of a step, time that a step waited for its data, memory, utilisation."""

from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch

from spg_lightning.data.images import Batch
from spg_lightning.module import SPGModule
from spg_lightning.utils.device import peak_flops, peak_memory_gb, step_flops


class Throughput(pl.Callback):
    """Logs medians over the steps since those logged before: `train/images_per_second` of all processes together,
    `train/step_seconds` from the end of a batch to the end of the next, `train/data_wait_seconds` of that for the loader.
    Beside them `train/memory_gb`, the most that was held so far (of a GPU by torch, else by the process), and on a GPU whose
    rate is known `train/mfu`, model FLOP utilisation: the share of the maker's rate for dense products that the step's
    convolutions and products make use of.

    On a GPU the ends are events in its stream, read when a step is logged: the host runs ahead of it, and waiting for it
    each step would slow what is measured. The wait for data is the host's: the GPU may still have had work then.
    """

    def __init__(self) -> None:
        self._ends: list[float | torch.cuda.Event] = []
        self._waits: list[float] = []
        self._photos: list[int] = []
        self._ended: float | None = None
        self._logged_step = 0
        self._flops: tuple[float, float] | None = None  # of an image's training, and of the device in a second

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count the operations of an image, once, where there is a rate to compare them with."""
        rate = peak_flops(module.device, str(trainer.precision))
        if rate is not None:
            assert isinstance(module, SPGModule)
            crop = trainer.datamodule.crop  # type: ignore[attr-defined]
            self._flops = step_flops(module, 2, crop) / 2, rate

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin anew: validation and the loader's start are no step."""
        self._ends, self._waits, self._photos, self._ended = [], [], [], None

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, index: int) -> None:
        """Note how long the batch was waited for."""
        if self._ended is not None:
            self._waits.append(perf_counter() - self._ended)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch | None, index: int
    ) -> None:
        """Note the end; log where Lightning logs."""
        self._ended = perf_counter()
        self._ends.append(_event() if module.device.type == "cuda" else self._ended)
        self._photos.append(0 if batch is None else len(batch["label"]))
        every, step = trainer.log_every_n_steps, trainer.global_step  # type: ignore[attr-defined]
        if not every or step % every or step == self._logged_step:  # the same step again where gradients accumulate
            return
        self._logged_step = step
        seconds = _intervals(self._ends)
        if seconds:
            took, photos = median(seconds), median(self._photos[-len(seconds) :])
            told = {
                "train/images_per_second": photos * trainer.world_size / took,
                "train/step_seconds": took,
                # a batch of broken photos alone is waited for unseen
                "train/data_wait_seconds": median(self._waits or [0.0]),
                "train/memory_gb": peak_memory_gb(module.device),
            }
            if self._flops is not None:
                told["train/mfu"] = self._flops[0] * photos / took / self._flops[1]
            module.log_dict(told, batch_size=1)
        self._ends, self._waits, self._photos = self._ends[-1:], [], []


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _intervals(ends: list[Any]) -> list[float]:
    """Return the seconds between ends, which are all of one kind."""
    if not ends or isinstance(ends[-1], float):
        return [b - a for a, b in pairwise(ends)]
    ends[-1].synchronize()
    return [a.elapsed_time(b) / 1000 for a, b in pairwise(ends)]
