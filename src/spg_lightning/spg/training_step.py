"""A training step: what a method does between a batch and its loss."""

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from spg_lightning.spg.network import SPGOutput

Network = Callable[[Tensor], SPGOutput]
Loss = Callable[[SPGOutput, Tensor], dict[str, Tensor]]


def standard_step(
    network: Network, loss: Loss, images: Float[Tensor, "B 3 Y X"], labels: Int[Tensor, " B"]
) -> dict[str, Tensor]:
    """Return the loss of the images as they are: SPG, SPG-plain, CAM, ADL.

    Args:
        network: images -> output.
        loss: output and labels -> named terms and `total`.
        images: normalised.
        labels: class indices.
    """
    return loss(network(images), labels)
