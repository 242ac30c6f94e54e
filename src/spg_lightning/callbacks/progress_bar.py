"""Progress bar that does not synchronize the device, and one line an epoch that also reaches log files."""

import logging
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

log = logging.getLogger(__name__)
VALIDATION_METRICS = {
    "val/gt_known_error": "GT-known error", "val/pxap": "PxAP", "val/cls_top1_error": "classification error",
}  # fmt: skip


class ProgressBar(RichProgressBar):
    """Lightning's bar, which reads the loss only at logged steps. Reading it at each step would wait for a GPU.

    Args:
        leave: keep the bar of each epoch.
    """

    def __init__(self, leave: bool) -> None:
        super().__init__(leave=leave)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the metrics of a validation during training."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        values = trainer.callback_metrics
        metrics = ", ".join(
            f"{title} {float(values[name]):.1f}" for name, title in VALIDATION_METRICS.items() if name in values
        )
        line = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, step {trainer.global_step}: val {metrics}"
        if self.progress is not None and self.progress.console.is_terminal:
            self.progress.console.print(line, highlight=False)  # above the bar; another stream would tear it
        else:
            log.info(line)

    def _update_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not trainer.training or (every and trainer.global_step % every == 0):
            super()._update_metrics(trainer, pl_module, *args, **kwargs)
