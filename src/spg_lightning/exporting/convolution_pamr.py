"""PAMR in a form that exported programs hold in a hundred operations instead of ten thousand."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from spg_lightning.score_maps.pamr import DIRECTIONS, EPSILON, PAMR


class ConvolutionPAMR(PAMR):
    """PAMR whose neighbours are read by dilated convolutions with one-hot kernels. Differs by the order of sums alone.

    Args:
        refinement: the one to compute.
    """

    def __init__(self, refinement: PAMR) -> None:
        super().__init__(refinement.iterations, refinement.dilations, refinement.scale, refinement.side)
        self.kernels = torch.zeros(len(DIRECTIONS), 1, 3, 3)
        for kernel, (dy, dx) in zip(self.kernels, DIRECTIONS, strict=True):
            kernel[0, 1 + dy, 1 + dx] = 1

    def prepare(self, rgb: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 N H W"]:
        """Return the weights of each pixel's neighbours; see `score_maps.pamr.affinity`."""
        difference = self._neighbours(rgb) - rgb[:, :, None]
        count = difference.shape[2] + len(self.dilations)
        total, squares = difference.sum(2), difference.square().sum(2)
        variance = (squares - total * total / count).clamp_min(0) / (count - 1)
        spread = EPSILON + self.scale * variance.sqrt()
        return (-(difference.abs() / spread[:, :, None]).mean(1, keepdim=True)).softmax(2)

    def propagate(self, maps: Float[Tensor, "B 1 H W"], guide: Float[Tensor, "B 1 N H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the maps after all iterations."""
        for _ in range(self.iterations):
            maps = (guide * self._neighbours(maps)).sum(2)
        return maps

    def _neighbours(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C N H W"]:
        channels, height, width = maps.shape[1:]
        planes = maps.reshape(-1, 1, height, width)
        found = [
            F.conv2d(F.pad(planes, (d, d, d, d), mode="replicate"), self.kernels, dilation=d) for d in self.dilations
        ]
        return torch.cat(found, 1).reshape(-1, channels, len(DIRECTIONS) * len(found), height, width)
