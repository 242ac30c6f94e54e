"""The training step of a method: from network, loss, images and labels to the terms of the loss."""

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from spg_lightning.spg.network import SPGOutput

Network = Callable[[Tensor], SPGOutput]
Loss = Callable[[SPGOutput, Tensor], dict[str, Tensor]]


def standard_step(
    network: Network, loss: Loss, images: Float[Tensor, "B 3 Y X"], labels: Int[Tensor, " B"]
) -> dict[str, Tensor]:
    """Return the loss of the unchanged images: SPG, SPG-plain, CAM, ADL.

    Args:
        network: images -> output.
        loss: output and labels -> named terms and `total`.
        images: normalised.
        labels: class indices.
    """
    return loss(network(images), labels)
