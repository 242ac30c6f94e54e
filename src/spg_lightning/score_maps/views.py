"""Test-time views: the mean of a score map over flipped and resized versions of the images."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from spg_lightning.errors import UserError
from spg_lightning.spg.maps import Map

View = tuple[float, bool]  # scale, flipped left to right
IDENTITY: View = (1.0, False)  # the images themselves


class Views:
    """The views of an image, each with one forward of the network.

    Args:
        flip: each scale also mirrored.
        scales: of height and width.

    Raises:
        UserError: no scale, or one out of its range.
    """

    def __init__(self, flip: bool, scales: Sequence[float]) -> None:
        if not scales or any(not 0.25 <= scale <= 4 for scale in scales):
            raise UserError(f"views: scales={list(scales)}; choose numbers from 0.25 to 4")
        self.views: tuple[View, ...] = tuple(
            (float(scale), flipped) for scale in scales for flipped in ((False, True) if flip else (False,))
        )

    def mean(self, compute: Callable[[View], Map], size: tuple[int, int]) -> Map:
        """Return the mean over all views of maps that are brought back to the images' frame.

        Args:
            compute: view -> map (B, 1, y, x) in the frame of `view_of` images.
            size: height and width of the images.
        """
        maps = []
        for view in self.views:
            values = compute(view)
            values = values.flip(-1) if view[1] else values
            if values.shape[-2:] != size:
                values = F.interpolate(values, size=size, mode="bilinear", align_corners=False)
            maps.append(values.detach())
        return torch.stack(maps).mean(0)


def view_of(images: Float[Tensor, "B 3 Y X"], view: View) -> Float[Tensor, "B 3 y x"]:
    """Return the images of a view."""
    scale, flipped = view
    if scale != 1:
        size = (max(1, round(images.shape[-2] * scale)), max(1, round(images.shape[-1] * scale)))
        images = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
    return images.flip(-1) if flipped else images
