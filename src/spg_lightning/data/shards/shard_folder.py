"""A folder of shards: local, or at an address that fsspec opens, whose chunks are fetched into the user's cache."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import fsspec
from filelock import FileLock
from fsspec.implementations.local import LocalFileSystem

from spg_lightning.data.index.cache import cache_folder
from spg_lightning.errors import UserError, first_line


class ShardFolder:
    """Reads the files of a folder of shards.

    Args:
        address: a path, or an address such as s3://, gs:// or https://. All processes of a machine share the fetched chunks.

    Raises:
        UserError: fsspec does not know the protocol, or lacks its package.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        try:
            self.is_remote = not isinstance(fsspec.core.url_to_fs(address)[0], LocalFileSystem)
        except (ValueError, ImportError) as error:
            raise UserError(f"dataset.shards={address}: {first_line(error)}") from error
        self.path = cache_folder() / "shards" if self.is_remote else Path(address.removeprefix("file://")).expanduser()

    def read(self, name: str) -> bytes:
        """Return the content of a small file. It is never cached, as it may have changed.

        Raises:
            UserError: it cannot be fetched.
        """
        if not self.is_remote:
            return (self.path / name).read_bytes()
        fs, root = fsspec.core.url_to_fs(self.address)
        try:
            content: bytes = fs.cat_file(f"{root}/{name}")
        except Exception as error:  # each file system has its own
            raise self._not_fetched(name, error) from error
        return content

    def identify(self, content: bytes) -> None:
        """Separate the cached chunks from those of other shards that had the same address."""
        if self.is_remote:
            self.path = self.path / hashlib.sha256(self.address.encode() + b"\0" + content).hexdigest()[:16]

    def check(self, name: str, size: int) -> None:
        """Check that a chunk of a local folder is complete; fetched chunks are checked on arrival.

        Raises:
            UserError: it is missing, or its size is not `size` bytes.
        """
        path = self.path / name
        if self.is_remote or (path.is_file() and path.stat().st_size == size):
            return
        state = f"has {path.stat().st_size} bytes of {size}" if path.is_file() else "is missing"
        raise UserError(f"dataset.shards={self.address}: {name} {state}; copy the folder again, or write it again")

    def open(self, name: str, size: int) -> BinaryIO:
        """Open a chunk of `size` bytes, fetched if necessary.

        Raises:
            UserError: it is missing or incomplete.
        """
        path = self.path / name
        if self.is_remote and not path.is_file():
            self._fetch(path, size)
        try:
            return path.open("rb", buffering=0)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); copy the folder again") from error

    def _fetch(self, path: Path, size: int) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}-{os.getpid()}")
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.is_file():  # another process has fetched it meanwhile
                return
            # asked for here: fsspec gives each process a file system of its own, as connections do not survive a fork
            fs, root = fsspec.core.url_to_fs(self.address)
            try:
                fs.get_file(f"{root}/{path.name}", str(partial))
                fetched = partial.stat().st_size
                if fetched != size:
                    raise UserError(
                        f"{self.address}/{path.name} has {fetched} bytes of {size}; copy the folder there again"
                    )
                partial.replace(path)
            except UserError:
                raise
            except Exception as error:
                raise self._not_fetched(path.name, error) from error
            finally:
                partial.unlink(missing_ok=True)

    def _not_fetched(self, name: str, error: Exception) -> UserError:
        return UserError(
            f"{self.address}/{name} cannot be fetched ({first_line(error)}); does it exist, and is it readable?"
        )
