"""A folder belongs to one run at a time: two that write the same checkpoints would go on with each other's."""

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spg_lightning.errors import UserError
from spg_lightning.utils.distributed import is_global_zero

NAME = ".lock"


@contextmanager
def output_dir_lock(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder until the block is left or the process dies, however it does.

    Locked is a file in it, as POSIX has it: among machines, too, where their shared file system knows locks (NFS does). Not
    inherited, so that a loader process that outlives a killed run does not keep the folder. Where there are no locks, nothing
    is kept out. Of a run's several processes the first one locks for all.

    Args:
        folder: of a run or a sweep; made if it is missing.

    Raises:
        UserError: another process is in this block with the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_global_zero():
        yield
        return
    path = folder / NAME
    with path.open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                who = file.read().strip()
                raise UserError(
                    f"{folder}: another run{who and f' ({who})'} is writing there; wait for its end, or choose another "
                    f"folder with output_dir=... (if its machine is gone for good, delete {path})"
                ) from None
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise UserError(f"{folder}: another run left it this very moment; start again")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is locked: who opened it before sees that it is gone
