"""Files that the package keeps about a data set: beside the data, or in the user's cache if that is read-only."""

import hashlib
import os
from pathlib import Path

from spg_lightning.errors import UserError

BESIDE = ".spg_lightning"  # below a data set's folder: its index, its quarantine


def cache_folder() -> Path:
    """Return $SPG_LIGHTNING_CACHE, or spg_lightning below $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("SPG_LIGHTNING_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spg_lightning"


def places(root: Path) -> tuple[Path, Path]:
    """Return the folders for files about a data set: beside it, and in the user's cache."""
    code = hashlib.sha256(str(root.expanduser().resolve()).encode()).hexdigest()[:16]
    return root / BESIDE, cache_folder() / "data" / code


def find(root: Path, name: str) -> Path | None:
    """Return a file or folder about a data set, or None."""
    return next((place / name for place in places(root) if (place / name).exists()), None)


def writable(root: Path) -> Path:
    """Return the first writable folder for files about a data set.

    Raises:
        UserError: there is none.
    """
    place = next((p for p in places(root) if _is_writable(p)), None)
    if place is None:
        raise UserError(
            f"cannot write to {' or '.join(map(str, places(root)))}; set SPG_LIGHTNING_CACHE to a writable folder"
        )
    return place


def _is_writable(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK | os.X_OK)
