"""Refinement of score maps by the colours of their image: the interface, and the way to a smaller frame and back."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from spg_lightning.errors import UserError
from spg_lightning.spg.maps import Map, min_max
from spg_lightning.utils.limits import LARGEST_SIDE

RADIUS = 2  # cells of the frame: the window of the linear relation
SMOOTHNESS = 1e-3  # epsilon of the linear relation, for colours in [0, 1]


class Refinement:
    """Base class: refines maps in a frame of at most `side` pixels, then upsamples them along the image's edges.

    Subclasses define `prepare`, which depends on the image alone and is shared by all its maps, and `propagate`.

    Args:
        side: longer side of the frame in pixels.

    Raises:
        UserError: a frame that is too small or too large.
    """

    def __init__(self, side: int) -> None:
        if not 8 <= side <= LARGEST_SIDE:
            raise UserError(f"refine: side={side}; choose a frame of 8 to {LARGEST_SIDE} pixels")
        self.side = side

    def prepare(self, rgb: Float[Tensor, "B 3 H W"]) -> Any:
        """Return what `propagate` needs of the image's colours in [0, 1]."""
        raise NotImplementedError

    def propagate(self, maps: Float[Tensor, "B 1 H W"], guide: Any) -> Float[Tensor, "B 1 H W"]:
        """Return refined maps of the frame's size."""
        raise NotImplementedError

    def guide(self, rgb: Float[Tensor, "B 3 Y X"]) -> tuple[Tensor, Tensor, Any]:
        """Return the image, the image in the frame, and what `prepare` makes of it."""
        height, width = rgb.shape[-2:]
        factor = min(1.0, self.side / max(height, width))
        frame = (max(1, round(height * factor)), max(1, round(width * factor)))
        small = rgb if frame == (height, width) else F.interpolate(rgb, size=frame, mode="area")
        return rgb, small, self.prepare(small)

    def __call__(self, maps: Map, guide: tuple[Tensor, Tensor, Any]) -> Map:
        """Return refined maps of the same size, min-max normalised.

        Args:
            maps: (B, 1, Y, X) in [0, 1].
            guide: of the images at the maps' size, see `guide`.
        """
        rgb, small, prepared = guide
        if small.shape == rgb.shape:
            return min_max(self.propagate(maps, prepared))
        refined = self.propagate(F.interpolate(maps, size=small.shape[-2:], mode="area"), prepared)
        return min_max(joint_upsample(refined, small, rgb))


def joint_upsample(
    maps: Float[Tensor, "B 1 H W"], small: Float[Tensor, "B 3 H W"], rgb: Float[Tensor, "B 3 Y X"]
) -> Float[Tensor, "B 1 Y X"]:
    """Upsample maps along the edges of an image: the fast guided filter (He and Sun, 2015), guided by brightness.

    In each window a map is a linear function of the image; its two coefficients are upsampled, not the map.

    Args:
        maps: in the frame.
        small, rgb: the image in the frame, and in full.
    """
    grey, full = small.mean(1, keepdim=True), rgb.mean(1, keepdim=True)
    mean_i, mean_p, mean_ip, mean_ii = box_mean(torch.cat((grey, maps, grey * maps, grey * grey), 1)).chunk(4, dim=1)
    slope = (mean_ip - mean_i * mean_p) / (mean_ii - mean_i * mean_i + SMOOTHNESS)
    coefficients = box_mean(torch.cat((slope, mean_p - slope * mean_i), 1))
    slope, offset = F.interpolate(coefficients, size=full.shape[-2:], mode="bilinear", align_corners=False).chunk(2, 1)
    return (slope * full + offset).clamp(0, 1)


def box_mean(values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Return means over square windows, of the pixels inside the image."""
    return F.avg_pool2d(values, 2 * RADIUS + 1, stride=1, padding=RADIUS, count_include_pad=False)
