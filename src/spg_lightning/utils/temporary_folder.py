"""A temporary folder beside what it becomes, so that it can be renamed; a killed process's is deleted by the next one."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a folder below `parent`, and delete it at the end.

    Args:
        parent: exists.
        name: of what is written; folders of this name that dead processes of this machine left are deleted, too.

    Raises:
        OSError: it cannot be made.
    """
    prefix = f".{name}-{platform.node()}-"
    for left in parent.glob(f"{prefix}*"):
        if not _is_alive(left.name.removeprefix(prefix).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # another user's
        return True
    return True
