"""Geometry of photos, boxes and masks, with albumentations."""

import os
import random
from typing import NamedTuple

# albumentations asks the network for its newest version at import; nothing here may need a network
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np


def train_transform(resize: int, crop: int) -> A.Compose:
    """Resize to `resize` x `resize`, take a random `crop` x `crop` window, flip half of the photos (paper section 4.1)."""
    return _compose([A.Resize(resize, resize), A.RandomCrop(crop, crop), A.HorizontalFlip(p=0.5)])


class Window(NamedTuple):
    """What a training photo shows of itself, resized: the window's upper left corner in pixels, and whether it is flipped."""

    top: int
    left: int
    flip: bool


class Windows:
    """Draws the windows that `train_transform` would cut for the same seeds: albumentations itself draws them.

    Args:
        resize, crop: see `train_transform`.
    """

    def __init__(self, resize: int, crop: int) -> None:
        self.shape = (resize, resize, 3)
        self.transform = train_transform(resize, crop)

    def __call__(self, seed: int | None) -> Window:
        """Return the window of a seed; None goes on with the random numbers of before."""
        if seed is not None:
            seed_transform(self.transform, seed)
        _, crop, flip = self.transform.transforms
        left, top, _, _ = crop.get_params_dependent_on_data({"shape": self.shape}, {})["crop_coords"]
        return Window(int(top), int(left), bool(flip.should_apply()))


def seed_transform(transform: A.Compose, seed: int) -> None:
    """Seed a pipeline, as `set_random_seed` does but for one thing: its steps draw from one stream, one after another.

    `set_random_seed` gives every step the same stream, so that a photo would be flipped exactly when its window lies high.
    """
    generator, draws = np.random.default_rng(seed), random.Random(seed)
    transform.random_generator, transform.py_random = generator, random.Random(seed)
    for step in transform.transforms:
        step.set_random_state(generator, draws)


def resize_transform(resize: int) -> A.Compose:
    """Resize to `resize` x `resize`: `train_transform` without the random window, which is cut later."""
    return _compose([A.Resize(resize, resize)])


def test_transform(crop: int) -> A.Compose:
    """Resize the whole photo to `crop` x `crop` (paper section 4.1)."""
    return _compose([A.Resize(crop, crop)])


def _compose(steps: list[A.BasicTransform]) -> A.Compose:
    boxes = A.BboxParams(format="pascal_voc", label_fields=["box_rows"], clip=True)
    for step in steps:
        if isinstance(step, A.Resize):
            step.mask_interpolation = cv2.INTER_NEAREST
    return A.Compose(steps, bbox_params=boxes)
