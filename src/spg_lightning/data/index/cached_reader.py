"""Decorator for readers: read the index if there is one for the current files, else the files."""

import functools
import hashlib
import inspect
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from spg_lightning.data.index import cache
from spg_lightning.data.index.storage import load_index, save_index
from spg_lightning.data.records import Splits
from spg_lightning.data.validation.issues import QUARANTINE

log = logging.getLogger(__name__)
FORMAT = 2  # of the index and of what readers derive from the files; a higher one makes all indexes stale
Reader = Callable[..., Splits]
Watched = Callable[..., Iterable[Path]]


def cached_reader(watched: Watched) -> Callable[[Reader], Reader]:
    """Return a decorator that makes a reader use its index.

    Args:
        watched: the reader's arguments -> the lists that its records depend on, whose content makes the index stale, and
            folders whose entries count, by their modification time.
    """

    def decorate(read: Reader) -> Reader:
        @functools.wraps(read)
        def reader(*args: Any, **kwargs: Any) -> Splits:
            arguments = inspect.signature(read).bind(*args, **kwargs).arguments
            if arguments.pop("issues", None) is None:
                root, name = _root(arguments), _name(read, arguments)
                folder = cache.find(root, f"{name}-{_fingerprint(read, watched, arguments)}")
                if folder is not None and (splits := load_index(folder)) is not None:
                    return splits
                if any(list(place.glob(f"{name}-*")) for place in cache.places(root)):
                    log.info("the index of %s is older than its files; reading them (prepare renews it)", root)
            return read(*args, **kwargs)

        reader.watched = watched  # type: ignore[attr-defined]
        return reader

    return decorate


def write_index(reader: Reader, arguments: Mapping[str, Any], splits: Splits, fingerprint: str) -> Path:
    """Write the index of a cached reader, delete its older ones, and return its folder.

    Args:
        reader: decorated with `cached_reader`.
        arguments: of its call.
        splits: its result.
        fingerprint: from before the files were read, so that later changes of the files make the index stale.

    Raises:
        UserError: it cannot be written.
    """
    root, name = _root(arguments), _name(inspect.unwrap(reader), arguments)
    folder = cache.writable(root) / f"{name}-{fingerprint}"
    save_index(folder, splits)
    for place in cache.places(root):
        for older in place.glob(f"{name}-*"):
            if older != folder:
                shutil.rmtree(older, ignore_errors=True)
    return folder


def fingerprint_of(reader: Reader, arguments: Mapping[str, Any]) -> str | None:
    """Return the fingerprint of the files that a reader's records depend on; None for a reader without an index."""
    watched: Watched | None = getattr(reader, "watched", None)
    return None if watched is None else _fingerprint(inspect.unwrap(reader), watched, arguments)


def _root(arguments: Mapping[str, Any]) -> Path:
    return Path(str(arguments["root"])).expanduser()


def _name(read: Reader, arguments: Mapping[str, Any]) -> str:
    return f"index-{hashlib.sha256(_as_text(read, arguments)).hexdigest()[:12]}"


def _as_text(read: Reader, arguments: Mapping[str, Any]) -> bytes:
    plain = {**arguments, "root": str(_root(arguments).absolute())}
    return json.dumps([FORMAT, read.__qualname__, plain], sort_keys=True, default=str).encode()


def _fingerprint(read: Reader, watched: Watched, arguments: Mapping[str, Any]) -> str:
    state = hashlib.sha256(_as_text(read, arguments))
    quarantine = cache.find(_root(arguments), QUARANTINE)
    for path in [*watched(**arguments), *([quarantine] if quarantine else [])]:
        state.update(f"\0{path}\0".encode(errors="surrogateescape"))
        if path.is_dir():
            state.update(str(path.stat().st_mtime_ns).encode())
        elif path.is_file():
            with path.open("rb") as file:
                state.update(hashlib.file_digest(file, "sha256").digest())
    return state.hexdigest()[:16]
