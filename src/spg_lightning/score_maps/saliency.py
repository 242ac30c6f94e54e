"""Score maps that explain any classifier: Grad-CAM and its kin, from the features that A4 reads, and the input's gradient.

Maps are (B, 1, H, W), not normalised, at the resolution of the features (of the input for `input_gradient`); what does not
speak for the class is cut off at 0. Through torchcam where it serves: its Grad-CAM, LayerCAM and Score-CAM. Grad-CAM++ is
our own, because torchcam (0.5) and pytorch-grad-cam (1.5) add a constant to a denominator that is far smaller behind a global
average pooling, where gradients are divided by the number of cells.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchcam.methods import GradCAM, LayerCAM, ScoreCAM

Features = Float[Tensor, "B C H W"]
Extractor = GradCAM | LayerCAM | ScoreCAM
LowMap = Float[Tensor, "B 1 H W"]


def gradient_of(logits: Float[Tensor, "B K"], classes: Tensor, wanted: Tensor) -> Tensor:
    """Return the gradient of each image's logit of its class by `wanted`, and leave the graph for other classes."""
    scores = logits.gather(1, classes[:, None]).sum()
    return torch.autograd.grad(scores, wanted, retain_graph=True)[0]


def extracted(extractor: Extractor, logits: Float[Tensor, "B K"], classes: Tensor) -> LowMap:
    """Return what a torchcam extractor with one layer gives for the forward that its hooks have seen."""
    # those that backpropagate leave the graph for the next class
    kept: dict[str, Any] = {} if isinstance(extractor, ScoreCAM) else {"retain_graph": True}
    maps: list[Tensor] = extractor(class_idx=classes.tolist(), scores=logits, normalized=False, **kept)
    return maps[0].unsqueeze(1)


def grad_cam_plus_plus(features: Features, gradient: Features) -> LowMap:
    r"""Return Grad-CAM++ (Chattopadhyay et al., WACV 2018, equations 10, 11 and 19).

    With Y = exp(S) its weights are

        w_k = \sum_{ij} \alpha_k(i,j) ReLU(g_k(i,j)),  \alpha_k = g_k^2 / (2 g_k^2 + g_k^3 \sum_{ab} A_k(a,b))

    where g is the gradient of the logit S by the features A; cancelling g^2 leaves 1 / (2 + g \sum A) wherever g is not 0. As
    in both libraries the factor exp(S), the same for all channels, is left out: maps are normalised afterwards.

    Args:
        features: A, what A4 reads; at least 0 behind a ReLU.
        gradient: of the class's logit by them.
    """
    alpha = 1 / (2 + gradient * features.sum(dim=(2, 3), keepdim=True))
    weights = (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1, keepdim=True).relu()


def input_gradient(gradient: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B 1 Y X"]:
    """Return the largest magnitude over the colours ("Backprop": Simonyan et al., ICLR workshop 2014, section 3.1).

    Deviation: their boxes come from a GraphCut segmentation seeded with this map; here, as for every map, from a threshold.
    """
    return gradient.abs().amax(dim=1, keepdim=True)
