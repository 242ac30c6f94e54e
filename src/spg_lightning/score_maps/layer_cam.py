"""LayerCAM (Jiang et al., IEEE Transactions on Image Processing 2021)."""

import torch
from jaxtyping import Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map


@register("layer_cam")
class LayerCAM(ScoreMap):
    """Features weighted at each location by the positive part of the logit's gradient (equations 6 to 8)."""

    requires_grad = "features"

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the rectified weighted sum of the features."""
        weights = context.feature_gradient(classes).relu()
        return context.upsample(torch.nansum(weights * context.features, dim=1, keepdim=True).relu())
