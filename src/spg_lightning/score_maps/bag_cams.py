"""BagCAMs (Zhu et al., ECCV 2022)."""

import torch
from jaxtyping import Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map


@register("bag_cams")
class BagCAMs(ScoreMap):
    """A bag of the classifiers that the gradients of all regions define.

    With the features Z, the gradient G of the logarithm of the class's logit by them, and P = G * Z: the sum over the channels of
    relu(P * (1 + mean of P over the regions)). The mean is the bag, factored out.

    Deviation: the magnitude of the logit divides the gradient, so that a negative logit does not turn the map around.
    """

    requires_grad = "features"

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the rectified sum over the channels, 0 or more."""
        logits = context.output.logits.gather(1, classes[:, None])[..., None, None].abs()
        gradient = context.feature_gradient(classes) / logits.clamp_min(torch.finfo(logits.dtype).tiny)
        product = torch.nan_to_num(gradient * context.features)
        bag = 1 + product.mean(dim=(2, 3), keepdim=True)
        return context.upsample((product * bag).relu().sum(dim=1, keepdim=True))
