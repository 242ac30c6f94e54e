"""Checkpoints are written whole or not at all: whatever happens meanwhile, the file of before stays until then."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from spg_lightning.errors import UserError, first_line
from spg_lightning.utils.atomic import atomically


def atomic_save(checkpoint: dict[str, Any], path: Path, before_last: Path | None = None) -> None:
    """Write a checkpoint beside its place, see it on the disk, then move it there.

    Args:
        checkpoint: what `torch.save` takes.
        path: its place.
        before_last: where the file that is there now goes.

    Raises:
        UserError: it cannot be written; what was there is still there.
    """
    try:
        with atomically(path, keep=before_last) as file:
            torch.save(checkpoint, file)
    except (OSError, RuntimeError) as error:  # torch's writer has an error of its own for a write that failed
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise UserError(f"cannot write {path} ({first_line(cause)})") from error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lets the trainer write all its checkpoints that way."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; see `atomic_save`."""
        try:
            atomic_save(checkpoint, Path(path))
        except UserError as error:
            raise UserError(f"{error}; what was there before stays: make room, then go on with resume=auto") from error
