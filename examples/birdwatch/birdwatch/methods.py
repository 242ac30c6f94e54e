"""A training step of one's own: Random Erasing, one square per image."""

import torch
from torch import Tensor


def erase_step(network, loss, images: Tensor, labels: Tensor, size: int) -> dict[str, Tensor]:
    """Return the loss of images with a hidden square of `size` pixels each; 0 is the mean colour."""
    hidden = images.clone()
    for image in hidden:
        y, x = (int(torch.randint(side - size + 1, ())) for side in image.shape[1:])
        image[:, y : y + size, x : x + size] = 0
    return loss(network(hidden), labels)
