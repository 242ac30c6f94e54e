"""Callback that warns once of each branch whose masks have no background left."""

import logging

import pytorch_lightning as pl

from spg_lightning.localization.collapse import mask_collapse

log = logging.getLogger(__name__)


class CollapseWarning(pl.Callback):
    """Looks at the logged fractions of the masks at the end of each epoch but the first, in which maps are still unformed."""

    def __init__(self) -> None:
        self.told: set[str] = set()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Warn of the branches that have not been named yet."""
        if not trainer.current_epoch:
            return
        for key, value in trainer.callback_metrics.items():
            branch = key.removeprefix("train/mask_").removesuffix("/foreground")
            if key != f"train/mask_{branch}/foreground" or branch in self.told:
                continue
            if text := mask_collapse(branch, float(value)):
                self.told.add(branch)
                log.warning("epoch %d: %s", trainer.current_epoch + 1, text)
