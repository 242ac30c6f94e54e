"""Files that are written whole or not at all: whatever happens meanwhile, the one of before stays until then."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomically(path: Path, mode: str = "wb", keep: Path | None = None, **options: Any) -> Iterator[IO[Any]]:
    """Open a file beside its place; where the block ends well, it is seen on the disk and takes its place.

    Args:
        path: its place; the folder is made if it is missing.
        mode, options: of `open`.
        keep: where the file that is there now goes; None: it is replaced.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")  # one name: what a killed run leaves is overwritten by the next
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


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # the new name, too, is to outlive a power cut
    finally:
        os.close(handle)
