"""An augmentation step of one's own: darker corners."""

from typing import Any

import albumentations as A
import numpy as np


class Vignette(A.ImageOnlyTransform):
    """Darken the corners, down to `1 - strength` of the brightness."""

    def __init__(self, strength: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Return the darkened image, uint8 RGB."""
        y, x = (np.linspace(-1, 1, side) for side in img.shape[:2])
        shade = 1 - self.strength * (y[:, None] ** 2 + x[None] ** 2) / 2
        return (img * shade[..., None]).astype(np.uint8)
