"""Seed maps: one foreground map a training image in a memory-mapped file, which every loader process reads."""

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int8, UInt8

FOREGROUND, BACKGROUND, IGNORED = 1, 0, -1  # as in masks of evaluation
LEVELS = 255


class SeedMaps:
    """The maps of each round of self-training, and the ternary masks they give.

    Args:
        paths: `.npy` files of (N, S, S) uint8 maps, [0, 255] for [0, 1]: one a round. They may appear later.
        epochs: first epoch of each round; the first one is 0.
        high, low: a pixel above `high` is foreground, below `low` background, else ignored; fractions of the map's range.
        patience: seconds that a loader process waits for the file of a round that begins.
    """

    def __init__(
        self, paths: Sequence[Path], epochs: Sequence[int], high: float, low: float, patience: float = 600
    ) -> None:
        self.paths, self.epochs, self.high, self.low = list(paths), list(epochs), high, low
        self.patience = patience
        self._open: dict[int, UInt8[np.ndarray, "N S S"]] = {}

    def round_of(self, epoch: int) -> int:
        """Return the round that an epoch belongs to."""
        return sum(begin <= epoch for begin in self.epochs) - 1

    def mask(self, index: int, size: tuple[int, int], epoch: int) -> Int8[np.ndarray, "Y X"]:
        """Return the ternary mask of a training image.

        Args:
            index: in the training records.
            size: width and height of the mask.
            epoch: which decides on the round.

        Raises:
            FileNotFoundError: the round's file does not appear. Not a `UserError`, which would only skip the image.
        """
        values = cv2.resize(self._maps(self.round_of(epoch))[index], size, interpolation=cv2.INTER_LINEAR)
        mask = np.full(values.shape, IGNORED, np.int8)
        mask[values > self.high * LEVELS] = FOREGROUND
        mask[values < self.low * LEVELS] = BACKGROUND
        return mask

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # each process maps the files itself

    def _maps(self, number: int) -> UInt8[np.ndarray, "N S S"]:
        if number not in self._open:
            path, waited = self.paths[number], 0.0
            while not path.is_file():
                if waited >= self.patience:
                    raise FileNotFoundError(f"seeds: {path} does not exist; start again with overwrite=true")
                time.sleep(0.1)
                waited += 0.1
            self._open[number] = np.load(path, mmap_mode="r")
        return self._open[number]
