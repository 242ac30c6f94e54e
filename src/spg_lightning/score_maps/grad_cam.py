"""Grad-CAM (Selvaraju et al., ICCV 2017)."""

import torch
from jaxtyping import Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map


@register("grad_cam")
class GradCAM(ScoreMap):
    """Features weighted by the mean of the logit's gradient over each channel (equations 1 and 2)."""

    requires_grad = "features"

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the rectified weighted sum of the features."""
        weights = context.feature_gradient(classes).flatten(2).mean(-1)[..., None, None]
        return context.upsample(torch.nansum(weights * context.features, dim=1, keepdim=True).relu())
