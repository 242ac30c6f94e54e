"""The trainer's plugin that writes checkpoints. A file of its own: readers of checkpoints do without Lightning."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.errors import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Trainer plugin that writes every checkpoint with `atomic_save`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; see `atomic_save`."""
        try:
            atomic_save(checkpoint, Path(path))
        except UserError as error:
            raise UserError(
                f"{error}; the previous file is unchanged: make room, then resume with resume=auto"
            ) from error
