"""Lock of an output folder: two runs that write the same checkpoints would resume from each other's."""

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
    """Hold a folder's lock until the block ends or the process dies.

    A POSIX lock also works across machines on NFS. Child processes do not inherit it, so a data worker that outlives a killed
    run does not hold the folder. On file systems without locks nothing is locked. Rank 0 locks for all ranks.

    Args:
        folder: of a run or a sweep; created if missing.

    Raises:
        UserError: another process holds the lock.
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
                owner = file.read().strip()
                raise UserError(
                    f"{folder}: another run{owner and f' ({owner})'} is writing there; wait for its end, or choose another "
                    f"folder with output_dir=... (if its machine is gone for good, delete {path})"
                ) from None
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise UserError(f"{folder}: another run released this folder just now; start again")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while locked: a process that opened the file before sees that it is gone
