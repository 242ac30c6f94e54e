"""Score maps of all images of a split on disk, as uint8: one file an image in the cache, or one for all in a run folder."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import ArrayLike

from spg_lightning.utils.atomic import atomically

LEVELS = 255  # stored for a value of 1
HEADER = 128  # bytes of a .npy file before its values


class MapFiles:
    """Maps with a file each, so that runs share them image by image. An image that could not be read has none.

    Args:
        folder: of the files.
        names: of the images' files below it.
        side: of the maps in pixels.
    """

    def __init__(self, folder: Path, names: Sequence[str], side: int) -> None:
        self.folder, self.names, self.side = folder, tuple(names), side

    def path(self, index: int) -> Path:
        """Return the file of an image."""
        return self.folder / f"{self.names[index]}.npy"

    def has(self, index: int) -> bool:
        """Return whether an image has a map, and a whole one: a damaged file is computed again."""
        path = self.path(index)
        return path.is_file() and path.stat().st_size == HEADER + self.side**2

    def __call__(self, index: int) -> UInt8[np.ndarray, "S S"]:
        """Return the map of an image.

        Raises:
            FileNotFoundError: it has none.
        """
        values: np.ndarray = np.load(self.path(index))
        return values


class MapArray:
    """Maps in one file, which may appear later and is mapped into memory.

    Args:
        path: of the file.
        patience: seconds that a loader process waits for it.
    """

    def __init__(self, path: Path, patience: float = 600) -> None:
        self.path, self.patience = path, patience
        self._maps: UInt8[np.ndarray, "N S S"] | None = None

    def __call__(self, index: int) -> UInt8[np.ndarray, "S S"]:
        """Return the map of an image.

        Raises:
            FileNotFoundError: the file does not appear. Not a `UserError`, which would only skip the image.
        """
        if self._maps is None:
            waited = 0.0
            while not self.path.is_file():
                if waited >= self.patience:
                    raise FileNotFoundError(f"seeds: {self.path} does not exist; start again with overwrite=true")
                time.sleep(0.1)
                waited += 0.1
            self._maps = np.load(self.path, mmap_mode="r")
        values: np.ndarray = self._maps[index]
        return values

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": None}  # each process maps the file itself


def to_levels(maps: Float[np.ndarray, "*S"]) -> UInt8[np.ndarray, "*S"]:
    """Return maps in [0, 1] as stored."""
    levels: np.ndarray = (maps * LEVELS).round().clip(0, LEVELS).astype(np.uint8)
    return levels


def write_maps(path: Path, levels: ArrayLike) -> None:
    """Write stored maps atomically."""
    with atomically(path, is_shared=True) as file:
        np.save(file, np.asarray(levels, np.uint8))
