"""A callback of one's own: the time of the training."""

import time

import pytorch_lightning as pl


class Pace(pl.Callback):
    """Logs `pace/minutes` after each epoch."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Log the minutes since the start."""
        module.log("pace/minutes", (time.perf_counter() - self.started) / 60)
