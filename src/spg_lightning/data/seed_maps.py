"""Seed masks of the training images: which stored map an epoch uses, and where it is foreground or background."""

from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Int8, UInt8

from spg_lightning.data.stored_maps import LEVELS

FOREGROUND, BACKGROUND, IGNORED = 1, 0, -1  # as in masks of evaluation


class SeedMasks(Protocol):
    """Where the training images get their seed masks from."""

    def mask(self, index: int, size: tuple[int, int], epoch: int) -> Int8[np.ndarray, "Y X"]:
        """Return the ternary mask of a training image, `size` wide and high."""
        ...


class SeedMaps:
    """The maps of each round of self-training, and the ternary masks they give.

    Args:
        rounds: index -> stored map, one a round; see `MapFiles` and `MapArray`.
        epochs: first epoch of each round; the first one is 0.
        high, low: a pixel above `high` is foreground, below `low` background, else ignored; fractions of the map's range.
    """

    def __init__(
        self,
        rounds: Sequence[Callable[[int], UInt8[np.ndarray, "S S"]]],
        epochs: Sequence[int],
        high: float,
        low: float,
    ) -> None:
        self.rounds, self.epochs, self.high, self.low = list(rounds), list(epochs), high, low

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
            FileNotFoundError: the image has no map. Not a `UserError`, which would only skip the image.
        """
        values = cv2.resize(self.rounds[self.round_of(epoch)](index), size, interpolation=cv2.INTER_LINEAR)
        mask = np.full(values.shape, IGNORED, np.int8)
        mask[values > self.high * LEVELS] = FOREGROUND
        mask[values < self.low * LEVELS] = BACKGROUND
        return mask
