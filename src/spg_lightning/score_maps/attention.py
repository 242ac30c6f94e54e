"""A4's class map: the paper's attention, and CAM."""

from jaxtyping import Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map, class_map


@register("attention")
class Attention(ScoreMap):
    """The attention map O of the class (paper section 3.1)."""

    auto = True

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return A4's map of the class, unbounded."""
        return context.upsample(class_map(context.output, classes))


@register("cam")
class CAM(Attention):
    """CAM (Zhou et al., CVPR 2016): equals A4's map up to the bias, which min-max normalisation removes."""

    auto = False
