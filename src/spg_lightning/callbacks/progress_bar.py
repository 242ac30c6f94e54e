"""Progress bar that does not synchronize the device, and one line a validation that also reaches log files."""

import logging
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger(__name__)
VALIDATION_METRICS = {
    "val/gt_known_error": "GT-known error", "val/pxap": "PxAP", "val/cls_top1_error": "classification error",
}  # fmt: skip


class SpeedColumn(ProgressColumn):
    """Steps a second, or seconds a step; nothing before the first measurement."""

    def render(self, task: Task) -> Text:
        """Return the text. Rich calls this."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text()
        return Text(f"{speed:.1f} it/s" if speed >= 1 else f"{1 / speed:.1f} s/it", style="progress.data.speed")


class ProgressBar(RichProgressBar):
    """Lightning's bar in a line of 80 columns. It reads the loss only at logged steps: at each step it would wait for a GPU.

    Args:
        leave: keep the bar of each epoch.
    """

    def __init__(self, leave: bool) -> None:
        super().__init__(leave=leave)

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Return the columns before the loss. The bar takes the width that the others leave. Lightning calls this."""
        bar = BarColumn(bar_width=None)
        return [TextColumn("{task.description}"), bar, MofNCompleteColumn(), TimeRemainingColumn(), SpeedColumn()]

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Return what the bar shows, without the logger's version, which would not fit. Lightning calls this."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics of a validation during training."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        values = trainer.callback_metrics
        metrics = ", ".join(
            f"{title} {float(values[name]):.1f}" for name, title in VALIDATION_METRICS.items() if name in values
        )
        log.info(
            "%s, step %d: val %s", self._get_train_description(trainer.current_epoch), trainer.global_step, metrics
        )

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        return f"epoch {current_epoch + 1}" + (f" of {epochs}" if epochs and epochs > 0 else "")

    def _init_progress(self, trainer: pl.Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.live.transient = not self._leave  # the lines of the validations stay

    def _update_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not trainer.training or (every and trainer.global_step % every == 0):
            super()._update_metrics(trainer, pl_module, *args, **kwargs)
