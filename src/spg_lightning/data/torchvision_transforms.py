"""Transforms of images, boxes and masks by torchvision's transforms v2, called as an albumentations pipeline is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int8, UInt8
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F


class TorchvisionCompose:
    """Steps of `torchvision.transforms.v2` that draw from a random state of their own.

    Args:
        steps: transforms that draw from torch's generator, as all of torchvision do.
    """

    def __init__(self, steps: Sequence[v2.Transform]) -> None:
        self.steps = v2.Compose(list(steps))
        self.rng_state = torch.get_rng_state()

    def seed(self, seed: int) -> None:
        """Start the random numbers of the following calls anew."""
        self.rng_state = torch.Generator().manual_seed(seed).get_state()

    def __call__(
        self,
        image: UInt8[np.ndarray, "Y X 3"],
        bboxes: Float[np.ndarray, "n 4"],
        box_rows: Sequence[int] | Int[np.ndarray, " n"],
        mask: Int8[np.ndarray, "Y X"] | None = None,
    ) -> dict[str, Any]:
        """Return the transformed arguments, without boxes that were cut away.

        Args:
            image: RGB.
            bboxes: x0 y0 x1 y1 in pixels of the image.
            box_rows: a number for each box.
            mask: of the image's size.
        """
        boxes = tv_tensors.BoundingBoxes(torch.from_numpy(bboxes), format="XYXY", canvas_size=image.shape[:2])
        inputs = {"image": tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), "boxes": boxes}
        if mask is not None:
            inputs["mask"] = tv_tensors.Mask(torch.from_numpy(mask))
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.rng_state)
            out = self.steps(inputs)
            self.rng_state = torch.get_rng_state()
        x0, y0, x1, y1 = corners = F.clamp_bounding_boxes(out["boxes"]).as_subclass(torch.Tensor).numpy().T
        visible = (x1 > x0) & (y1 > y0)
        result = {
            "image": out["image"].permute(1, 2, 0).numpy(),
            "bboxes": corners.T[visible],
            "box_rows": np.asarray(box_rows, dtype=int)[visible],
        }
        return result if mask is None else result | {"mask": out["mask"].numpy()}
