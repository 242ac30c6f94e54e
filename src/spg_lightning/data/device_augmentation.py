"""Cut and flip the windows of training images where the network is, with torchvision: the worker only decodes and resizes."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from spg_lightning.data.images import Batch, stack_images
from spg_lightning.data.transforms import Window


def cut_windows(batch: Batch, crop: int) -> Batch:
    """Return a batch with what its windows show, to the pixel what `train_transform` shows for the same seeds.

    The windows are plain numbers: nothing is waited for on a GPU.

    Args:
        batch: of whole images, on any device; one without windows comes back as it is.
        crop: the windows' side in pixels.
    """
    windows = batch["window"]
    if windows is None:
        return batch
    mask = batch["mask"]
    if mask is not None:
        mask = torch.stack([_cut(one, window, crop) for one, window in zip(mask, windows, strict=True)])
    return Batch(
        image=stack_images([_cut(image, window, crop) for image, window in zip(batch["image"], windows, strict=True)]),
        image_id=batch["image_id"],
        label=batch["label"],
        index=batch["index"],
        boxes=[cut_boxes(boxes, window, crop) for boxes, window in zip(batch["boxes"], windows, strict=True)],
        true_boxes=batch["true_boxes"],
        mask=mask,
        window=None,
    )


def _cut(picture: Tensor, window: Window, crop: int) -> Tensor:
    cut = F.crop(picture, window.top, window.left, crop, crop)  # a view
    return F.horizontal_flip(cut) if window.flip else cut


def cut_boxes(boxes: Float[Tensor, "n 4"], window: Window, crop: int) -> Float[Tensor, "m 4"]:
    """Return boxes x0 y0 x1 y1 as a window shows them, without those of which nothing is left."""
    if not len(boxes):
        return boxes
    moved = (boxes - boxes.new_tensor([window.left, window.top] * 2)).clamp(0, crop)
    if window.flip:
        moved = torch.stack([crop - moved[:, 2], moved[:, 1], crop - moved[:, 0], moved[:, 3]], 1)
    return moved[(moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])]
