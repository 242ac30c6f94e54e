"""Geometry of photos, boxes and masks, with albumentations."""

import os

# albumentations asks the network for its newest version at import; nothing here may need a network
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2


def train_transform(resize: int, crop: int) -> A.Compose:
    """Resize to `resize` x `resize`, take a random `crop` x `crop` window, flip half of the photos (paper section 4.1)."""
    return _compose([A.Resize(resize, resize), A.RandomCrop(crop, crop), A.HorizontalFlip(p=0.5)])


def test_transform(crop: int) -> A.Compose:
    """Resize the whole photo to `crop` x `crop` (paper section 4.1)."""
    return _compose([A.Resize(crop, crop)])


def _compose(steps: list[A.BasicTransform]) -> A.Compose:
    boxes = A.BboxParams(format="pascal_voc", label_fields=["box_rows"], clip=True)
    for step in steps:
        if isinstance(step, A.Resize):
            step.mask_interpolation = cv2.INTER_NEAREST
    return A.Compose(steps, bbox_params=boxes)
