"""Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, section 3.3): a map flows along similar colours."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from spg_lightning.errors import UserError
from spg_lightning.score_maps.refinement import Refinement

DIRECTIONS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
# Deviation: the authors' code has 1e-8. In a sky of one colour the standard deviation is of rounding alone (3e-8), so that the
# weights, and a mask, would differ from one CPU to the next; the faintest real gradient has 1e-4.
EPSILON = 1e-6
MOST_ITERATIONS = 1000  # far beyond where a map stops to change


class PAMR(Refinement):
    """Average each pixel over its neighbours of similar colour, repeatedly.

    A neighbour's weight is a softmax over all neighbours (equation 6) of minus its colour difference divided by `scale` times
    the local standard deviation, averaged over RGB (equation 5). Each iteration replaces a value by the weighted mean of its
    neighbours' (equation 7).

    Deviation: the paper refines at the image's size; here in a smaller frame, at less than the cost of a forward pass. The
    result is brought back by its local linear relation to the image's colours (`Refinement`).

    Args:
        iterations: of equation 7 (paper: 10).
        dilations: distances in pixels of the frame to the eight neighbours (paper: 1, 2, 4, 8, 12, 24).
        scale: of the standard deviation (the authors' code: 0.1).
        side: longer side of the frame in pixels.

    Raises:
        UserError: a value out of its range.
    """

    def __init__(self, iterations: int, dilations: Sequence[int], scale: float, side: int) -> None:
        super().__init__(side)
        if (
            not 1 <= iterations <= MOST_ITERATIONS
            or scale <= 0
            or not dilations
            or not 1 <= min(dilations) <= max(dilations) <= side
        ):
            raise UserError(
                f"refine.pamr: iterations={iterations}, dilations={list(dilations)}, scale={scale:g}; choose 1 to "
                f"{MOST_ITERATIONS} iterations, dilations of 1 to side={side}, and a scale above 0"
            )
        self.iterations, self.dilations, self.scale = iterations, tuple(dilations), scale

    def prepare(self, rgb: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "N B 1 H W"]:
        """Return the weights of each pixel's N neighbours; they sum to 1."""
        return affinity(rgb, self.dilations, self.scale)

    def propagate(self, maps: Float[Tensor, "B 1 H W"], guide: Float[Tensor, "N B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the maps after all iterations."""
        for _ in range(self.iterations):
            mean = torch.zeros_like(maps)
            for weight, neighbour in zip(guide, neighbours(maps, self.dilations), strict=True):
                mean.addcmul_(weight, neighbour)
            maps = mean
        return maps


def affinity(rgb: Float[Tensor, "B C H W"], dilations: Sequence[int], scale: float) -> Float[Tensor, "N B 1 H W"]:
    """Return the weights of each pixel's neighbours (equations 5 and 6).

    Args:
        rgb: colours of any range: the standard deviation scales with them.
        dilations, scale: see `PAMR`.

    Returns:
        N = 8 neighbours a dilation, in the order of `neighbours`. The standard deviation is that of all N neighbours and, once
        a dilation, of the pixel itself.
    """
    around, own = neighbours(rgb, dilations), len(dilations)
    count = len(around) + own
    # differences from the pixel itself, which are small, keep the sums of squares exact in float32
    total, squares = torch.zeros_like(rgb), torch.zeros_like(rgb)
    difference = torch.empty_like(rgb)
    for neighbour in around:
        torch.sub(neighbour, rgb, out=difference)
        total += difference
        squares.addcmul_(difference, difference)
    variance = (squares - total * total / count).clamp_min(0) / (count - 1)
    spread = EPSILON + scale * variance.sqrt()
    similarity = rgb.new_empty(len(around), len(rgb), 1, *rgb.shape[2:])
    for neighbour, out in zip(around, similarity, strict=True):
        first, *others = torch.sub(neighbour, rgb, out=difference).abs_().div_(spread).chunk(rgb.shape[1], dim=1)
        out.copy_(first)
        for channel in others:  # a mean over the channel axis takes torch several times as long
            out += channel
    return similarity.div_(-rgb.shape[1]).softmax(0)


def neighbours(maps: Float[Tensor, "B C H W"], dilations: Sequence[int]) -> list[Float[Tensor, "B C H W"]]:
    """Return views of the eight neighbours at each dilation. Beyond the border the border's value repeats."""
    height, width = maps.shape[-2:]
    most = max(dilations)
    padded = F.pad(maps, (most, most, most, most), mode="replicate")
    return [
        padded[..., most + dy * d : most + dy * d + height, most + dx * d : most + dx * d + width]
        for d in dilations
        for dy, dx in DIRECTIONS
    ]
