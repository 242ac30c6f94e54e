"""Fit on val how far a box can be trusted, and whether an image shows an object of the classes at all.

Images without an object are cut from val's own photos: the largest part beside the object. Parts of the same size with the
object are cut as well, so that a cut and its blur do not give the answer away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.localization.confidence import FEATURES, Confidence, fit_logistic
from spg_lightning.localization.threshold_scan import scan_thresholds
from spg_lightning.localizer import Localization, Localizer, resize_to_square

MAX_IMAGES = 200  # of val: more would hardly change the two fits
BATCH_SIZE = 16
SMALLEST_PART = 0.25  # shorter side of a part without the object, as a share of the image's
KEPT = 0.95  # share of the val images with an object that must count as such
Picture = UInt8[np.ndarray, "Y X 3"]


@dataclass(frozen=True)
class Examples:
    """What the fits see of one split.

    Attributes:
        box_features: of the whole images, see `localization.confidence.box_features`.
        is_right: whether the box of the most probable class reaches IoU 0.5 with a true box.
        presence_features: of whole images, parts with the object, and parts without.
        is_present: which of them show the object.
        num_whole: the first ones of these are whole images.
    """

    box_features: Float[np.ndarray, "n F"]
    is_right: Bool[np.ndarray, " n"]
    presence_features: Float[np.ndarray, "m F"]
    is_present: Bool[np.ndarray, " m"]
    num_whole: int


def fit_confidence(localizer: Localizer, data: ImageDataModule) -> Confidence:
    """Fit the confidence of a localizer on val. Without boxes on val it predicts None.

    Args:
        localizer: with the score map and threshold that val chose, on its device.
        data: set up; pseudo boxes count as boxes.
    """
    found = collect_examples(localizer, data, "val", MAX_IMAGES)
    if found is None:
        return Confidence()
    presence = fit_logistic(found.presence_features, found.is_present)
    present_above = 0.0
    if presence is not None:
        of_objects = presence(found.presence_features[found.is_present])
        present_above = float(np.quantile(of_objects, 1 - KEPT))
    return Confidence(
        fit_logistic(found.box_features, found.is_right),
        presence,
        present_above,
        found.num_whole,
        bool(data.pseudo_boxes),
    )


def collect_examples(localizer: Localizer, data: ImageDataModule, split: str, max_images: int) -> Examples | None:
    """Localize in images of a split that have boxes, and in parts of them with and without their objects; None without boxes."""
    records, dataset = data.records[split], data.dataset(split)
    boxed = np.flatnonzero(np.diff(records.box_offsets)) if len(records.boxes) else np.zeros(0, int)
    chosen = boxed[np.linspace(0, len(boxed) - 1, min(max_images, len(boxed))).astype(int)] if len(boxed) else boxed
    wholes: list[Picture] = []
    truths, with_object, without = [], [], []
    for index in chosen.tolist():
        try:
            photo = dataset.source(index)
        except UserError:
            continue  # a corrupt image, which evaluation has named
        boxes = records.boxes_of(index)
        wholes.append(resize_to_square(photo, data.crop))
        truths.append(dataset.true_boxes(index))
        if (part := part_without(boxes, photo.shape[1], photo.shape[0])) is not None:
            without.append(_cut(photo, part, data.crop))
            with_object.append(_cut(photo, part_with(boxes[0], part, photo.shape[1], photo.shape[0]), data.crop))
    if not wholes:
        return None
    of_wholes = _localize(localizer, wholes)
    is_right = [
        scan_thresholds(found.score_map, true).box_at(localizer.threshold)[1] >= 0.5
        for found, true in zip(of_wholes, truths, strict=True)
    ]
    features = _features(of_wholes)
    others = _features(_localize(localizer, with_object + without))
    is_present = np.repeat([True, True, False], [len(wholes), len(with_object), len(without)])
    return Examples(features, np.array(is_right), np.concatenate([features, others]), is_present, len(wholes))


def part_without(boxes: Float[np.ndarray, "n 4"], width: int, height: int) -> tuple[int, int, int, int] | None:
    """Return the largest part of an image beside all its boxes, x0 y0 x1 y1; None where it would be too narrow.

    Its longer side is at most twice the shorter one.
    """
    x0, y0 = np.floor(boxes[:, :2].min(0)).astype(int)
    x1, y1 = np.ceil(boxes[:, 2:].max(0)).astype(int)
    sides = [(0, 0, x0, height), (x1, 0, width, height), (0, 0, width, y0), (0, y1, width, height)]
    left, top, right, bottom = max(sides, key=lambda side: (side[2] - side[0]) * (side[3] - side[1]))
    across, down = right - left, bottom - top
    if min(across / width, down / height) < SMALLEST_PART:
        return None
    return left, top, left + min(across, 2 * down), top + min(down, 2 * across)


def part_with(
    box: Float[np.ndarray, "4"], part: tuple[int, int, int, int], width: int, height: int
) -> tuple[int, int, int, int]:
    """Return the part of an image of the same size as `part` around the middle of a box."""
    across, down = part[2] - part[0], part[3] - part[1]
    left = int(np.clip((box[0] + box[2] - across) / 2, 0, width - across))
    top = int(np.clip((box[1] + box[3] - down) / 2, 0, height - down))
    return left, top, left + across, top + down


def _cut(photo: Picture, part: tuple[int, int, int, int], side: int) -> Picture:
    x0, y0, x1, y1 = part
    return resize_to_square(np.ascontiguousarray(photo[y0:y1, x0:x1]), side)


def _localize(localizer: Localizer, pictures: Sequence[Picture]) -> list[Localization]:
    """Return the most probable class of each image at the network's input size."""
    found = []
    for begin in range(0, len(pictures), BATCH_SIZE):
        batch = np.stack(pictures[begin : begin + BATCH_SIZE])
        size = (batch.shape[2], batch.shape[1])
        found += [of_image[0] for of_image in localizer.localize_frames(batch, [size] * len(batch))]
    return found


def _features(found: Sequence[Localization]) -> Float[np.ndarray, "n F"]:
    rows = []
    for of_image in found:
        # a map of zeros has no region
        rows.append(np.zeros(len(FEATURES)) if of_image.largest is None else of_image.features(of_image.largest))
    return np.array(rows).reshape(len(rows), len(FEATURES))
