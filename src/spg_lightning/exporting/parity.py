"""How far an exported model is from the checkpoint it was made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from spg_lightning.localizer import Localizer

NUM_IMAGES = 4


@dataclass(frozen=True)
class Difference:
    """The largest differences on some images.

    Attributes:
        probability: of any class.
        map_value: of score maps of the same class.
        classes: how many of the most probable classes are others.
    """

    probability: float
    map_value: float
    classes: int

    def __str__(self) -> str:
        """Return one line."""
        others = f", {self.classes} other classes" if self.classes else ""
        return f"probabilities {self.probability:.1e}, score maps {self.map_value:.1e}{others}"


def compare(one: Localizer, other: Localizer, frames: UInt8[np.ndarray, "B S S 3"], top_k: int) -> Difference:
    """Return the largest differences of two localizers with one score map, on images at the network's input size."""
    a, b = one.run(frames, top_k), other.run(frames, top_k)
    same = a.classes == b.classes
    maps = [0.0]
    for k, (first, second) in enumerate(zip(a.maps, b.maps, strict=True)):
        alike = same[:, k] if len(a.maps) > 1 or top_k == 1 else np.ones(len(frames), bool)
        maps += [float(np.abs(first[i] - second[i]).max()) for i in np.flatnonzero(alike)]
    return Difference(float(np.abs(a.probabilities - b.probabilities).max()), max(maps), int((~same).sum()))


def random_images(side: int, count: int = NUM_IMAGES) -> UInt8[np.ndarray, "B S S 3"]:
    """Return images of random patches of colour, the same in each call."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    repeats = -(-side // 8)
    return np.ascontiguousarray(cells.repeat(repeats, 1).repeat(repeats, 2)[:, :side, :side])
