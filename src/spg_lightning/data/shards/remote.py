"""A folder of shards: on a disk, or in an object storage, whose files come into the user's cache when they are needed."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from spg_lightning.data.index.cache import cache_folder
from spg_lightning.errors import UserError, first_line

LIMIT = 100 << 30  # bytes of one folder's chunks that the cache holds; $SPG_LIGHTNING_SHARDS_BYTES sets another
ENDING = ".bin"


class Folder:
    """A folder on a disk.

    Args:
        where: the folder.
    """

    is_remote = False

    def __init__(self, where: str) -> None:
        self.where = where
        self.path = Path(where).expanduser()

    @classmethod
    def of(cls, where: str) -> "Folder":
        """Return the folder of a path, or of an address with a scheme."""
        return RemoteFolder(where) if "://" in where or where.startswith("local:") else cls(where)

    def read(self, name: str) -> bytes:
        """Return a small file's content."""
        return (self.path / name).read_bytes()

    def identify(self, content: bytes) -> None:
        """Nothing: what lies here is what is meant."""

    def check(self, name: str, size: int) -> None:
        """Refuse a folder that was copied by halves.

        Args:
            name: of a chunk.
            size: its bytes.
        """
        path = self.path / name
        there = path.stat().st_size if path.is_file() else None
        if there != size:
            state = "is missing" if there is None else f"has {there} bytes of {size}"
            raise UserError(f"dataset.shards={self.where}: {name} {state}; copy the folder again, or write it anew")

    def open(self, name: str, size: int) -> BinaryIO:
        """Open a chunk.

        Raises:
            UserError: it is not there, or not whole.
        """
        try:
            return (self.path / name).open("rb", buffering=0)
        except OSError as error:
            raise UserError(f"{self.path / name} cannot be read ({error.strerror}); copy the folder again") from error


class RemoteFolder(Folder):
    """A folder in an object storage, as litdata can fetch from (s3://, gs://, azure://, r2://, hf://; local: for tests).

    All processes of a machine share the fetched chunks. Where they take more than a limit, those used longest ago go; who
    still reads one keeps its open file, and who comes later fetches it again.

    Args:
        where: its address.
    """

    is_remote = True

    def __init__(self, where: str) -> None:
        super().__init__(where.rstrip("/"))
        self.limit = int(os.environ.get("SPG_LIGHTNING_SHARDS_BYTES", LIMIT))
        self.path = cache_folder() / "shards"
        self._fetcher: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fetcher": None}

    def read(self, name: str) -> bytes:
        """Fetch a small file, each time: what it says may have changed."""
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path) as folder:
            return self._download(name, Path(folder) / name).read_bytes()

    def identify(self, content: bytes) -> None:
        """Keep the chunks apart from those of other shards that had the same address."""
        self.path = self.path / hashlib.sha256(self.where.encode() + b"\0" + content).hexdigest()[:16]

    def check(self, name: str, size: int) -> None:
        """Nothing: chunks are looked at when they come."""

    def open(self, name: str, size: int) -> BinaryIO:
        """Open a chunk, fetched if need be."""
        for _ in range(3):  # between fetching and opening another process may have made room
            try:
                file = (self.path / name).open("rb", buffering=0)
            except FileNotFoundError:
                self._fetch(name, size)
                continue
            os.utime(file.fileno())
            return file
        raise UserError(
            f"{self.where}/{name} does not stay in {self.path}; set SPG_LIGHTNING_SHARDS_BYTES to more bytes"
        )

    def _fetch(self, name: str, size: int) -> None:
        from filelock import FileLock  # comes with litdata

        self.path.mkdir(parents=True, exist_ok=True)
        path, unfinished = self.path / name, self.path / f".{name}-{os.getpid()}"
        with FileLock(self.path / f".{name}.lock"):
            if path.is_file():  # another process was faster
                return
            try:
                there = self._download(name, unfinished).stat().st_size
                if there != size:
                    raise UserError(f"{self.where}/{name} has {there} bytes of {size}; copy the folder there again")
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        self._make_room(path)

    def _download(self, name: str, path: Path) -> Path:
        try:
            from litdata.streaming.downloader import get_downloader
        except ImportError:
            raise UserError("shards are fetched with litdata: pip install '.[shards]' (in the checkout)") from None
        try:
            if self._fetcher is None or self._fetcher[0] != os.getpid():  # its connections are no child's
                self._fetcher = os.getpid(), get_downloader(self.where, str(self.path), [])
            self._fetcher[1].download_file(f"{self.where}/{name}", str(path))
            path.stat()
        except Exception as error:  # each storage has its own
            raise UserError(
                f"{self.where}/{name} cannot be fetched ({first_line(error)}); is it there, and readable?"
            ) from error
        return path

    def _make_room(self, newest: Path) -> None:
        found = []
        for path in self.path.glob(f"*{ENDING}"):
            try:
                found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
            except FileNotFoundError:
                continue
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit or path == newest:
                break
            path.unlink(missing_ok=True)
            total -= size
