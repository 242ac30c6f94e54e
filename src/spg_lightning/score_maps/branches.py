"""The foreground that SPG's branches predict."""

from jaxtyping import Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map, foreground


class BranchForeground(ScoreMap):
    """Mean foreground probability of `branches`, the same for all classes."""

    per_class = False
    auto = True

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the mean of the branches' foregrounds, in [0, 1]."""
        output = context.output
        maps = [foreground(getattr(output, branch), output.image_size) for branch in self.branches]
        return sum(maps[1:], maps[0]) / len(maps)


@register("c")
class C(BranchForeground):
    """C's foreground."""

    branches = ("c",)


@register("fused")
class Fused(BranchForeground):
    """Mean of B1's and B2's foregrounds, which supervises C (paper section 3.2)."""

    branches = ("b1", "b2")


@register("b1")
class B1(BranchForeground):
    """B1's foreground."""

    branches = ("b1",)


@register("b2")
class B2(BranchForeground):
    """B2's foreground."""

    branches = ("b2",)
