"""Atomic checkpoint files: the previous file stays in place until the new one is complete on disk."""

from pathlib import Path
from typing import Any

import torch

from spg_lightning.errors import UserError, first_line
from spg_lightning.utils.atomic import atomically


def atomic_save(checkpoint: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """Write a checkpoint to a temporary file, sync it to disk, then rename it over `path`.

    Args:
        checkpoint: anything `torch.save` accepts.
        path: of the file.
        previous: new path of the file that `path` names now; None replaces it.

    Raises:
        UserError: the file cannot be written; the current file is unchanged.
    """
    try:
        with atomically(path, keep=previous) as file:
            torch.save(checkpoint, file)
    except (OSError, RuntimeError) as error:  # torch's writer raises its own error for a failed write
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise UserError(f"cannot write {path} ({first_line(cause)})") from error
