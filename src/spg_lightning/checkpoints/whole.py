"""Checkpoints are written whole or not at all: whatever happens meanwhile, the file of before stays until then."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from spg_lightning.errors import UserError, first_line


def write_whole(checkpoint: dict[str, Any], path: Path, before_last: Path | None = None) -> None:
    """Write a checkpoint beside its place, see it on the disk, then move it there.

    Args:
        checkpoint: what `torch.save` takes.
        path: its place.
        before_last: where the file that is there now goes.

    Raises:
        UserError: it cannot be written; what was there is still there.
    """
    temporary = path.with_name(f".{path.name}.tmp")  # one name: what a killed run leaves is overwritten by the next
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        if before_last is not None and path.exists():
            path.replace(before_last)
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch's writer has an error of its own for a write that failed
        temporary.unlink(missing_ok=True)
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise UserError(f"cannot write {path} ({first_line(cause)})") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # the new name, too, is to outlive a power cut
    finally:
        os.close(handle)


class WholeFiles(TorchCheckpointIO):
    """Lets the trainer write all its checkpoints that way."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; see `write_whole`."""
        try:
            write_whole(checkpoint, Path(path))
        except UserError as error:
            raise UserError(f"{error}; what was there before stays: make room, then go on with resume=auto") from error
