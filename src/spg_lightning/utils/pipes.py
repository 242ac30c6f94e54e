"""Refuse a pipe in place of a file: whoever opens one waits for its writer, without end."""

from pathlib import Path

from spg_lightning.errors import UserError


def refuse_pipe(path: Path) -> None:
    """Raise `UserError` for a pipe. Anything else, also nothing, is left to the reader of the file."""
    if path.is_fifo():
        raise UserError(f"{path} is a pipe; put a file there")
