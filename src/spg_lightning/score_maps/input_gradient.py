"""The gradient of the class's logit by the input, "Backprop" (Simonyan et al., ICLR workshop 2014, section 3.1)."""

from jaxtyping import Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map


@register("input_gradient")
class InputGradient(ScoreMap):
    """Largest magnitude of the gradient over the colour channels.

    Deviation: the paper's boxes come from a GraphCut segmentation seeded with this map; here, as for every map, from a threshold.
    """

    requires_grad = "images"

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the magnitude of the gradient."""
        return context.upsample(context.image_gradient(classes).abs().amax(dim=1, keepdim=True))
