"""Callback that logs the throughput of training: images per second, step time, waiting for data, memory, utilisation."""

import copy
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from spg_lightning.data.images import Batch
from spg_lightning.module import SPGModule
from spg_lightning.utils.device import peak_flops, peak_memory_gb


class Throughput(pl.Callback):
    """Logs medians over the steps since the previous log.

    * `train/images_per_second`: of all processes together
    * `train/step_seconds`: from the end of a batch to the end of the next
    * `train/data_wait_seconds`: the part of it spent waiting for the loader
    * `train/memory_gb`: peak memory so far, of the GPU or else of the process
    * `train/mfu`: model FLOP utilisation, the fraction of the GPU's peak dense rate, if that is known

    On a GPU the ends are events in its stream, read when a step is logged. The host runs ahead, and waiting for the GPU at each
    step would slow the training down. The wait for data is the host's; the GPU may still be busy meanwhile.
    """

    def __init__(self) -> None:
        self._ends: list[float | torch.cuda.Event] = []
        self._waits: list[float] = []
        self._counts: list[int] = []
        self._ended: float | None = None
        self._logged_step = 0
        self._flops: tuple[float, float] | None = None  # per image, and the device's per second

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count the operations per image if the device's peak rate is known."""
        rate = peak_flops(module.device, str(trainer.precision))
        if rate is not None:
            assert isinstance(module, SPGModule)
            crop = trainer.datamodule.crop  # type: ignore[attr-defined]
            self._flops = step_flops(module, 2, crop) / 2, rate

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Reset: validation and the start of the loader are not steps."""
        self._ends, self._waits, self._counts, self._ended = [], [], [], None

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, index: int) -> None:
        """Record the wait for the batch."""
        if self._ended is not None:
            self._waits.append(perf_counter() - self._ended)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch | None, index: int
    ) -> None:
        """Record the end of the batch; log when Lightning logs."""
        self._ended = perf_counter()
        self._ends.append(_event() if module.device.type == "cuda" else self._ended)
        self._counts.append(0 if batch is None else len(batch["label"]))
        every, step = trainer.log_every_n_steps, trainer.global_step  # type: ignore[attr-defined]
        if not every or step % every or step == self._logged_step:  # the same step again while gradients accumulate
            return
        self._logged_step = step
        intervals = _intervals(self._ends)
        if intervals:
            seconds, images = median(intervals), median(self._counts[-len(intervals) :])
            values = {
                "train/images_per_second": images * trainer.world_size / seconds,
                "train/step_seconds": seconds,
                # Lightning skips the start hook for a batch whose images are all corrupt
                "train/data_wait_seconds": median(self._waits or [0.0]),
                "train/memory_gb": peak_memory_gb(module.device),
            }
            if self._flops is not None:
                values["train/mfu"] = self._flops[0] * images / seconds / self._flops[1]
            module.log_dict(values, batch_size=1)
        self._ends, self._waits, self._counts = self._ends[-1:], [], []


def step_flops(module: SPGModule, batch: int, size: int) -> int:
    """Return the floating point operations of one training step, forward and backward. A multiply-add counts as two.

    Counts convolutions and matrix products on a copy of the network without storage, so that nothing is computed.

    Args:
        module: with its network, step and loss; frozen parts have no backward.
        batch: number of images.
        size: side of the images in pixels.
    """
    network = copy.deepcopy(module.network).to("meta")
    network.train(module.network.training)
    for layer in network.modules():
        if isinstance(layer, nn.SyncBatchNorm):  # would communicate with other processes; batch norm is not counted
            layer.eval()
    images = torch.empty(batch, 3, size, size, device="meta")
    labels = torch.zeros(batch, dtype=torch.long, device="meta")
    counting = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_flops})
    with torch.enable_grad(), counting as counter:
        module.step(network, module.loss, images, labels)["total"].backward()  # type: ignore[no-untyped-call]
    return counter.get_total_flops()


def _backward_flops(
    grad_out: list[int], x: list[int], w: list[int], bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, wanted: list[bool], out_shape: Any = None,
) -> int:  # fmt: skip
    """Return the operations of a convolution's backward: a forward each for the gradients by input and by weights.

    torch's own count treats depthwise convolutions as dense.
    """
    return int(conv_flop_count(x, w, grad_out, transposed) * (wanted[0] + wanted[1]))


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _intervals(ends: list[Any]) -> list[float]:
    """Return the seconds between consecutive ends, which are all times or all events."""
    if not ends or isinstance(ends[-1], float):
        return [b - a for a, b in pairwise(ends)]
    ends[-1].synchronize()
    return [a.elapsed_time(b) / 1000 for a, b in pairwise(ends)]
