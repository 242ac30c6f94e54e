"""Grad-CAM++ (Chattopadhyay et al., WACV 2018)."""

from jaxtyping import Float, Int
from torch import Tensor

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map

Features = Float[Tensor, "B C H W"]


def grad_cam_plus_plus(features: Features, gradient: Features) -> Float[Tensor, "B 1 H W"]:
    r"""Return Grad-CAM++ at the resolution of the features, not normalised (equations 10, 11 and 19).

    With Y = exp(S) its weights are

        w_k = \sum_{ij} \alpha_k(i,j) ReLU(g_k(i,j)),  \alpha_k = g_k^2 / (2 g_k^2 + g_k^3 \sum_{ab} A_k(a,b))

    where g is the gradient of the logit S by the features A. Cancelling g^2 leaves 1 / (2 + g \sum A) wherever g is not 0.
    The factor exp(S), the same for all channels, is left out: maps are normalised afterwards.

    Deviation: torchcam (0.5) and pytorch-grad-cam (1.5) add a constant to the denominator, which is far smaller behind a
    global average pooling, where gradients are divided by the number of cells.

    Args:
        features: A, at least 0 behind a ReLU.
        gradient: g.
    """
    alpha = 1 / (2 + gradient * features.sum(dim=(2, 3), keepdim=True))
    weights = (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1, keepdim=True).relu()


@register("grad_cam_plus_plus")
class GradCAMPlusPlus(ScoreMap):
    """See `grad_cam_plus_plus`."""

    requires_grad = "features"

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return Grad-CAM++."""
        return context.upsample(grad_cam_plus_plus(context.features, context.feature_gradient(classes)))
