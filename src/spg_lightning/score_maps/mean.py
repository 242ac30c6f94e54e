"""The mean of several score maps: `b1+b2+c`."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.spg.maps import Map, min_max


class Mean(ScoreMap):
    """Mean of score maps, each min-max normalised before.

    Args:
        parts: the maps.
    """

    def __init__(self, parts: Sequence[ScoreMap]) -> None:
        self.parts = tuple(parts)
        self.branches = tuple(dict.fromkeys(branch for part in parts for branch in part.branches))
        self.per_class = any(part.per_class for part in parts)
        self.uses_network = any(part.uses_network for part in parts)
        needed = {part.requires_grad for part in parts}
        self.requires_grad = "images" if "images" in needed else "features" if "features" in needed else ""

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the mean, in [0, 1]."""
        return torch.stack([min_max(part(context, classes).detach()) for part in self.parts]).mean(0)
