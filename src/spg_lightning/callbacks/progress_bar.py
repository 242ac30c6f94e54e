"""A progress bar that training does not wait for, and a line an epoch that stays, in a log file, too."""

import logging
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

log = logging.getLogger(__name__)
TOLD = {
    "val/gt_known_error": "GT-known error", "val/pxap": "PxAP", "val/cls_top1_error": "classification error",
}  # fmt: skip


class ProgressBar(RichProgressBar):
    """Lightning's bar; it reads the loss where Lightning logs, not at each step, where a GPU would be waited for.

    Args:
        leave: keep the bar of each epoch.
    """

    def __init__(self, leave: bool) -> None:
        super().__init__(leave=leave)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what a validation of the training found."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        numbers = trainer.callback_metrics
        said = ", ".join(f"{text} {float(numbers[name]):.1f}" for name, text in TOLD.items() if name in numbers)
        line = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, step {trainer.global_step}: val {said}"
        if self.progress is not None and self.progress.console.is_terminal:
            self.progress.console.print(line, highlight=False)  # above the bar, which another stream would tear
        else:
            log.info(line)

    def _update_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *more: Any, **others: Any) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not trainer.training or (every and trainer.global_step % every == 0):
            super()._update_metrics(trainer, pl_module, *more, **others)
