"""Callback that adds the metadata to every checkpoint."""

from typing import Any

import pytorch_lightning as pl

from spg_lightning.checkpoints.metadata import KEY, CheckpointMetadata


class SaveMetadata(pl.Callback):
    """Adds the metadata to every checkpoint that the trainer writes."""

    def __init__(self, metadata: CheckpointMetadata) -> None:
        self.metadata = metadata

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the metadata in `checkpoint`."""
        checkpoint[KEY] = self.metadata.as_plain()
