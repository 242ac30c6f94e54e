"""Where the package keeps what it makes: in the user's cache, or with the data."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from spg_lightning.errors import UserError

BESIDE = ".spg_lightning"  # below a data set's folder: its index, its quarantine


def cache_folder() -> Path:
    """Return $SPG_LIGHTNING_CACHE, or spg_lightning below $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("SPG_LIGHTNING_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spg_lightning"


def places(root: Path) -> tuple[Path, Path]:
    """Return where files about a data set may lie: in its folder, or, where that cannot be written, in the user's cache."""
    code = hashlib.sha256(str(root.expanduser().resolve()).encode()).hexdigest()[:16]
    return root / BESIDE, cache_folder() / "data" / code


def find(root: Path, name: str) -> Path | None:
    """Return a file about a data set, None where there is none."""
    return next((place / name for place in places(root) if (place / name).is_file()), None)


def writable(root: Path) -> Path:
    """Return the first place for files about a data set that can be written.

    Raises:
        UserError: there is none.
    """
    place = next((p for p in places(root) if _is_writable(p)), None)
    if place is None:
        raise UserError(
            f"neither {' nor '.join(map(str, places(root)))} can be written; set SPG_LIGHTNING_CACHE to a folder that can"
        )
    return place


def write(root: Path, name: str, parts: Iterable[bytes]) -> Path:
    """Write a file about a data set, whole or not at all, and return where it went.

    Raises:
        UserError: neither place can be written, or the disk is full; what was there before is kept.
    """
    place = writable(root)
    handle, temporary = tempfile.mkstemp(dir=place, prefix=f".{name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())  # the name must not stand for bytes that never reached the disk
        Path(temporary).chmod(0o644)
        Path(temporary).replace(place / name)
    except OSError as error:
        raise UserError(f"{place / name} cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    for other in places(root):
        if other != place:
            with contextlib.suppress(
                OSError
            ):  # a folder that cannot be written: the fingerprint keeps a stale file out
                (other / name).unlink(missing_ok=True)
    return place / name


def _is_writable(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK | os.X_OK)
