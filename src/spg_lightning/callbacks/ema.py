"""Exponential moving average (EMA) of the weights, on Lightning's `WeightAveraging`."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from spg_lightning.errors import UserError


class EMA(WeightAveraging):
    """Averages weights and batch norm statistics after each step: average = decay * average + (1 - decay) * weights.

    A checkpoint's `state_dict` is the average, so `best.ckpt` and `last.ckpt` hold the evaluated weights, beside the weights
    that training resumes with. Lightning's `EMAWeightAveraging` synchronizes the host with the device at each step. It copies
    the average after the last step only if this call made a step, and copies it again before later validations, even over
    weights loaded in between.

    Args:
        decay: in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay={decay}: choose a number from 0 to below 1")
        super().__init__()
        self._ema_update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Create the average on the device of the weights."""
        self._device = trainer.strategy.root_device  # the weights move there after `setup`
        super().setup(trainer, pl_module, stage)

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average. torch's own update copies the step count to the device, and waits."""
        if trainer.global_step == self._latest_update_step:
            return  # gradients accumulate
        first, self._latest_update_step = self._latest_update_step == 0, trainer.global_step
        average = self._average_model
        assert average is not None
        pairs = list(zip(_values(average.module), _values(pl_module), strict=True))
        for averaged, value in pairs:
            if first or not averaged.is_floating_point():  # batch norm's count of batches
                averaged.copy_(value)
        if not first:
            floats = [pair for pair in pairs if pair[0].is_floating_point()]
            self._ema_update([averaged for averaged, _ in floats], [value for _, value in floats], None)
        average.n_averaged += 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights: the checkpoint of the last step holds both."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the average into the network, for good."""
        assert self._average_model is not None
        self._copy_average_to_current(pl_module)
        self._average_model = None


def _values(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
