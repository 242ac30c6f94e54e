"""Transforms of images, boxes and masks, with albumentations. No other module imports it."""

import os
import random
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

# albumentations looks up its newest version online at import
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import numpy as np
from torchvision.transforms import v2

from spg_lightning.data.torchvision_transforms import TorchvisionCompose
from spg_lightning.errors import UserError, first_line

Transform: TypeAlias = A.Compose | TorchvisionCompose


def train_transform(resize: int, crop: int) -> A.Compose:
    """Resize to `resize` x `resize`, crop a random `crop` x `crop` window, flip half of the images (paper section 4.1)."""
    return compose_steps([A.Resize(resize, resize), A.RandomCrop(crop, crop), A.HorizontalFlip(p=0.5)])


def resize_transform(resize: int) -> A.Compose:
    """Resize to `resize` x `resize`: `train_transform` without the random window."""
    return compose_steps([A.Resize(resize, resize)])


def test_transform(crop: int) -> A.Compose:
    """Resize the whole image to `crop` x `crop` (paper section 4.1)."""
    return compose_steps([A.Resize(crop, crop)])


def augmentation_transform(steps: Sequence[Any], resize: int, crop: int) -> Transform:
    """Return the pipeline of a config's augmentation. It is tried on images of several sizes.

    Args:
        steps: transforms of albumentations, or all of them of torchvision's v2.
        resize, crop: see `train_transform`.

    Raises:
        UserError: a step is not a transform, a step fails, or the result is not uint8 of `crop` x `crop` x 3.
    """
    transform: Transform
    if steps and all(isinstance(step, v2.Transform) for step in steps):
        transform = TorchvisionCompose(steps)
    else:
        for step in steps:
            if not isinstance(step, A.BasicTransform | A.BaseCompose):
                raise UserError(
                    f"augmentation: {step!r} is not an albumentations transform; correct augmentation.steps "
                    "(torchvision's v2 transforms cannot be mixed with others)"
                )
        transform = compose_steps(steps)
    wanted = f"end with a step that gives dataset.crop={crop} x {crop} x 3, uint8, from images of any size"
    for seed, (height, width) in enumerate([(resize, resize), (2 * resize + 1, resize), (crop // 2 + 1, 2 * crop)] * 4):
        seed_transform(transform, seed)
        try:
            result = transform(image=np.full((height, width, 3), 128, np.uint8), bboxes=np.zeros((0, 4)), box_rows=[])
        except Exception as error:  # steps of any package
            raise UserError(
                f"augmentation fails on an image of {height} x {width} ({first_line(error)}); {wanted}"
            ) from error
        image = result["image"]
        if image.shape != (crop, crop, 3) or image.dtype != np.uint8:
            size = " x ".join(str(side) for side in image.shape)
            raise UserError(f"augmentation gives {size}, {image.dtype}, from an image of {height} x {width}; {wanted}")
    return transform


def is_paper_augmentation(steps: Sequence[Any], resize: int, crop: int) -> bool:
    """Return whether steps equal those of `train_transform`."""
    paper = train_transform(resize, crop).transforms
    return [type(step) for step in steps] == [type(step) for step in paper] and all(
        step.to_dict() == other.to_dict() for step, other in zip(compose_steps(steps).transforms, paper, strict=True)
    )


class Window(NamedTuple):
    """The crop of a resized training image: its upper left corner in pixels, and whether it is flipped."""

    top: int
    left: int
    flip: bool


class Windows:
    """Draws the windows that `train_transform` crops for the same seeds.

    Args:
        resize, crop: see `train_transform`.
    """

    def __init__(self, resize: int, crop: int) -> None:
        self.shape = (resize, resize, 3)
        self.transform = train_transform(resize, crop)

    def __call__(self, seed: int | None) -> Window:
        """Return the window of a seed; None continues with the current random state."""
        if seed is not None:
            seed_transform(self.transform, seed)
        _, crop, flip = self.transform.transforms
        left, top, _, _ = crop.get_params_dependent_on_data({"shape": self.shape}, {})["crop_coords"]
        return Window(int(top), int(left), bool(flip.should_apply()))


def seed_transform(transform: Transform, seed: int) -> None:
    """Seed a pipeline so that its steps draw from one stream, one after another.

    albumentations' own `set_random_seed` starts the same stream in every step, so that flips would depend on the crop.
    """
    if isinstance(transform, TorchvisionCompose):
        transform.seed(seed)
        return
    generator, draws = np.random.default_rng(seed), random.Random(seed)
    transform.random_generator, transform.py_random = generator, random.Random(seed)
    for step in transform.transforms:
        step.set_random_state(generator, draws)


def compose_steps(steps: Sequence[A.BasicTransform | A.BaseCompose]) -> A.Compose:
    """Return a pipeline that transforms boxes and masks with the image."""
    return A.Compose(list(steps), bbox_params=A.BboxParams(format="pascal_voc", label_fields=["box_rows"], clip=True))
