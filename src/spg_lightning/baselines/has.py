"""Hide-and-Seek (Singh and Lee, ICCV 2017): hides random cells of training images, so that all parts must be recognized."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spg_lightning.spg.training_step import Loss, Network


def hide_patches(images: Float[Tensor, "B 3 Y X"], grid_size: int, drop_rate: float) -> Float[Tensor, "B 3 Y X"]:
    """Return images with hidden cells.

    Args:
        images: normalised, so that 0 is the mean colour, which the paper hides with (section 3.2).
        grid_size: side of a cell in pixels; cells at the right and lower edge may be smaller.
        drop_rate: probability that a cell is hidden, drawn independently for each cell of each image.
    """
    batch, _, height, width = images.shape
    rows, columns = -(-height // grid_size), -(-width // grid_size)
    kept = torch.rand(batch, 1, rows, columns, device=images.device) >= drop_rate
    pixels = kept.repeat_interleave(grid_size, 2).repeat_interleave(grid_size, 3)[..., :height, :width]
    return images * pixels


def has_step(
    network: Network,
    loss: Loss,
    images: Float[Tensor, "B 3 Y X"],
    labels: Int[Tensor, " B"],
    grid_size: int,
    drop_rate: float,
) -> dict[str, Tensor]:
    """Return the loss of images with hidden cells; see `hide_patches` and `standard_step`."""
    return loss(network(hide_patches(images, grid_size, drop_rate)), labels)
