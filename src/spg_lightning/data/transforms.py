"""Geometry of images, boxes and masks, with albumentations."""

import os
import random
from collections.abc import Sequence
from typing import NamedTuple

# albumentations looks up its newest version online at import
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np

from spg_lightning.errors import UserError


def train_transform(resize: int, crop: int) -> A.Compose:
    """Resize to `resize` x `resize`, crop a random `crop` x `crop` window, flip half of the images (paper section 4.1)."""
    return compose_steps([A.Resize(resize, resize), A.RandomCrop(crop, crop), A.HorizontalFlip(p=0.5)])


def resize_transform(resize: int) -> A.Compose:
    """Resize to `resize` x `resize`: `train_transform` without the random window."""
    return compose_steps([A.Resize(resize, resize)])


def test_transform(crop: int) -> A.Compose:
    """Resize the whole image to `crop` x `crop` (paper section 4.1)."""
    return compose_steps([A.Resize(crop, crop)])


def augmentation_transform(steps: Sequence[A.BasicTransform], resize: int, crop: int) -> A.Compose:
    """Return the pipeline of a config's augmentation.

    Raises:
        UserError: it gives images of another size than `crop` x `crop`.
    """
    transform = compose_steps(list(steps))
    seed_transform(transform, 0)
    shape = transform(image=np.zeros((resize, resize, 3), np.uint8), bboxes=np.zeros((0, 4)), box_rows=[])[
        "image"
    ].shape
    if shape != (crop, crop, 3):
        size = " x ".join(str(side) for side in shape)
        raise UserError(
            f"augmentation gives images of {size}; end with a step that gives dataset.crop={crop} x {crop} x 3"
        )
    return transform


def is_paper_augmentation(steps: Sequence[A.BasicTransform], resize: int, crop: int) -> bool:
    """Return whether steps are those of `train_transform`, which the device can do as well."""
    paper = train_transform(resize, crop).transforms
    return [step.to_dict() for step in compose_steps(list(steps)).transforms] == [step.to_dict() for step in paper]


class Window(NamedTuple):
    """The part of a resized image that training shows: upper left corner in pixels, and whether it is flipped."""

    top: int
    left: int
    flip: bool


class Windows:
    """Draws the windows that `train_transform` would crop for the same seeds, by albumentations itself.

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


def seed_transform(transform: A.Compose, seed: int) -> None:
    """Seed a pipeline so that its steps draw from one stream, one after another.

    albumentations' own `set_random_seed` gives every step the same stream: an image would be flipped exactly when its window
    lies high.
    """
    generator, draws = np.random.default_rng(seed), random.Random(seed)
    transform.random_generator, transform.py_random = generator, random.Random(seed)
    for step in transform.transforms:
        step.set_random_state(generator, draws)


def compose_steps(steps: list[A.BasicTransform]) -> A.Compose:
    """Return a pipeline that boxes and masks follow."""
    boxes = A.BboxParams(format="pascal_voc", label_fields=["box_rows"], clip=True)
    for step in steps:
        if isinstance(step, A.Resize):
            step.mask_interpolation = cv2.INTER_NEAREST
    return A.Compose(steps, bbox_params=boxes)
