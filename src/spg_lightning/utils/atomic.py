"""Atomic files: the previous file stays in place until the new one is complete on disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomically(
    path: Path, mode: str = "wb", keep: Path | None = None, is_shared: bool = False, **options: Any
) -> Iterator[IO[Any]]:
    """Write to a temporary file, fsync it, then rename it over `path`.

    Args:
        path: of the file; its folder is created if missing.
        mode, options: of `open`.
        keep: new path of the existing file; None replaces it.
        is_shared: several processes may write the file at once; the last one stays.

    Raises:
        OSError: the file cannot be written; the existing one is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # a constant name: the next run overwrites what a killed one left
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp" if is_shared else f".{path.name}.tmp")
    try:
        with temporary.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write to a temporary file, then rename it over `path`: no reader and no killed process sees half of it.

    Unlike `atomically` it does not wait for the disk, so that thousands of small files take no minutes; after a power cut a
    file may be missing.

    Raises:
        OSError: the file cannot be written; the existing one is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # so that the new name survives a power cut
    finally:
        os.close(handle)
