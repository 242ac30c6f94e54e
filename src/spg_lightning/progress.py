"""A progress bar that training does not wait for."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar


class ProgressBar(RichProgressBar):
    """Lightning's bar; it reads the loss where Lightning logs, not at each step, where a GPU would be waited for.

    Args:
        leave: keep the bar of each epoch.
    """

    def __init__(self, leave: bool) -> None:
        super().__init__(leave=leave)

    def _update_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *more: Any, **others: Any) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not trainer.training or (every and trainer.global_step % every == 0):
            super()._update_metrics(trainer, pl_module, *more, **others)
