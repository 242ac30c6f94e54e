"""Readers that take an index instead of the files, where there is one and it is not older than they are."""

import functools
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from spg_lightning.data.index import cache
from spg_lightning.data.index.storage import load_index, save_index
from spg_lightning.data.records import Splits
from spg_lightning.data.validation.issues import QUARANTINE

log = logging.getLogger(__name__)
FORMAT = 1  # of the index, and of what readers make of the files: a higher one makes all indexes stale
Reader = Callable[..., Splits]
Watched = Callable[..., Iterable[Path]]


def cached_reader(watched: Watched) -> Callable[[Reader], Reader]:
    """Let a reader take its index.

    Args:
        watched: the reader's arguments -> the lists that its records are made from (a change of their bytes makes the
            index stale), and folders whose entries count (photos that come and go; a folder's time of change tells).
    """

    def decorate(read: Reader) -> Reader:
        @functools.wraps(read)
        def reader(*args: Any, **kwargs: Any) -> Splits:
            arguments = inspect.signature(read).bind(*args, **kwargs).arguments
            if arguments.pop("audit", None) is None:
                root, name = _place(read, arguments)
                path = cache.find(root, name)
                if path is not None:
                    if (found := load_index(path, _fingerprint(read, watched, arguments))) is not None:
                        return found
                    log.info("%s is older than the files it was made from; reading them (prepare writes it anew)", path)
            return read(*args, **kwargs)

        reader.watched = watched  # type: ignore[attr-defined]
        return reader

    return decorate


def write_index(reader: Reader, arguments: Mapping[str, Any], splits: Splits, fingerprint: str) -> Path:
    """Write the index of a reader called with `arguments`, and return where it is.

    Args:
        reader: an indexed one.
        arguments: those it was called with.
        splits: what it gave.
        fingerprint: as it was before the files were read: if they have changed since, the index is stale from the start.
    """
    root, name = _place(inspect.unwrap(reader), arguments)
    return save_index(root, name, fingerprint, splits)


def fingerprint_of(reader: Reader, arguments: Mapping[str, Any]) -> str | None:
    """Return what tells an index of these arguments' files from older ones; None for a reader without indexes."""
    watched: Watched | None = getattr(reader, "watched", None)
    return None if watched is None else _fingerprint(inspect.unwrap(reader), watched, arguments)


def _place(read: Reader, arguments: Mapping[str, Any]) -> tuple[Path, str]:
    code = hashlib.sha256(_as_text(read, arguments)).hexdigest()[:12]
    return Path(str(arguments["root"])).expanduser(), f"index-{code}.bin"


def _as_text(read: Reader, arguments: Mapping[str, Any]) -> bytes:
    plain = {**arguments, "root": str(Path(str(arguments["root"])).expanduser().absolute())}
    return json.dumps([FORMAT, read.__qualname__, plain], sort_keys=True, default=str).encode()


def _fingerprint(read: Reader, watched: Watched, arguments: Mapping[str, Any]) -> str:
    state = hashlib.sha256(_as_text(read, arguments))
    root = Path(str(arguments["root"])).expanduser()
    quarantine = cache.find(root, QUARANTINE)
    for path in [*watched(**arguments), *([quarantine] if quarantine else [])]:
        state.update(f"\0{path}\0".encode(errors="surrogateescape"))
        if path.is_dir():
            state.update(str(path.stat().st_mtime_ns).encode())
        elif path.is_file():
            with path.open("rb") as file:
                state.update(hashlib.file_digest(file, "sha256").digest())
    return state.hexdigest()
