"""CutMix (Yun et al., ICCV 2019): a window of another image is pasted in, and the labels are mixed by area."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spg_lightning.spg.training_step import Loss, Network


def cutmix_step(
    network: Network,
    loss: Loss,
    images: Float[Tensor, "B 3 Y X"],
    labels: Int[Tensor, " B"],
    beta: float,
    probability: float,
) -> dict[str, Tensor]:
    """Return the loss of mixed images; see `standard_step`.

    Args:
        network, loss, images, labels: see `standard_step`.
        beta: both parameters of the Beta distribution that the kept share of area is drawn from (paper section 3.1).
        probability: of mixing a batch at all.
    """
    if float(torch.rand(())) >= probability:
        return loss(network(images), labels)
    share = float(torch.distributions.Beta(beta, beta).sample())
    height, width = images.shape[-2:]
    top, bottom, left, right = window(height, width, share)
    order = torch.randperm(len(images), device=images.device)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[order][..., top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)  # the window may have been cut at the edge
    output = network(mixed)
    own, pasted = loss(output, labels), loss(output, labels[order])
    return {name: kept * own[name] + (1 - kept) * pasted[name] for name in own}


def window(height: int, width: int, share: float) -> tuple[int, int, int, int]:
    """Draw a window of about 1 - `share` of the area with the image's proportions: top, bottom, left, right."""
    side = (1 - share) ** 0.5
    high, wide = int(height * side), int(width * side)
    y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
    return (
        max(y - high // 2, 0), min(y + high // 2, height), max(x - wide // 2, 0), min(x + wide // 2, width),
    )  # fmt: skip
