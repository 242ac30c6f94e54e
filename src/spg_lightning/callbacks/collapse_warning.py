"""Callback that warns while a run trains its branches on masks without background."""

import logging
from collections import Counter
from typing import Any

import pytorch_lightning as pl

from spg_lightning.localization.collapse import full_masks

log = logging.getLogger(__name__)

LOGGED_STEPS = 3  # that a branch's masks have to be full one after the other: early masks pass


class CollapseWarning(pl.Callback):
    """Reads the logged fractions of the masks, and warns once they have been full for some steps."""

    def __init__(self) -> None:
        self.full: Counter[str] = Counter()  # branch -> logged steps in a row

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the fractions of a step that logs them. Lightning calls this."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not every or trainer.global_step % every or not trainer.is_global_zero:
            return
        fractions = {
            key.split("/")[1].removeprefix("mask_"): float(value)
            for key, value in trainer.callback_metrics.items()
            if key.startswith("train/mask_") and key.endswith("/foreground")
        }
        for name, fraction in fractions.items():
            self.full[name] = self.full[name] + 1 if full_masks({name: fraction}) else 0
        for text in full_masks({name: value for name, value in fractions.items() if self.full[name] == LOGGED_STEPS}):
            log.warning("step %d: %s", trainer.global_step, text)
