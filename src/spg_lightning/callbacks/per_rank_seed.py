"""Callback that gives every process its own random numbers."""

import pytorch_lightning as pl
import torch


class PerRankSeed(pl.Callback):
    """Seeds every process differently for dropout and the like. Equal seeds would drop the same units in all of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Reseed every rank but the first."""
        if trainer.global_rank:
            torch.manual_seed(self.seed + 1_000_003 * trainer.global_rank)
