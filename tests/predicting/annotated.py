"""A small prediction with hard names, for the tests of all annotation formats."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from spg_lightning.predicting.rows import ImageRow, Prediction, encode_mask

CLASSES = ["black cat", 'dog "<script>" & co', "émeu 鸸鹋"]
NAMES = ["plain", 'it\'s "quoted" <script>', "two\nlines", "émeu 鸸鹋", "x" * 240, "images", "a&b;c,d", "100% #1 ?d=x"]
SIZE = (160, 120)


@dataclass
class Predicted:
    """The rows of a prediction of images in `root`, and what they hold.

    Attributes:
        root: a folder as `dataset=folder` reads it.
        rows: of its images, then of one that could not be read.
        boxes, masks: path below `root` -> what the most probable class shows.
    """

    root: Path
    rows: list[ImageRow]
    boxes: dict[str, list[tuple[float, ...]]]
    masks: dict[str, np.ndarray]


def write_predicted(root: Path, masks: bool) -> Predicted:
    """Write images, and return rows with a box each, with masks of one piece, with a hole, of two pieces."""
    rng = np.random.default_rng(0)
    found = Predicted(root, [], {}, {})
    for part in ("train", "test"):
        for label, folder in enumerate(("cat", "dog")):
            for i, name in enumerate(NAMES):
                path = root / part / folder / f"{name}.{'png' if i == 3 else 'jpg'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)).save(path)
                below = path.relative_to(root).as_posix()
                found.boxes[below] = [_box(rng)] if i != 1 else []
                objects = [_prediction(path, label, box, None) for box in found.boxes[below]]
                if i == 1:  # the image shows no object
                    objects = [_prediction(path, label, (1.0, 2.0, 30.0, 40.0), None, is_found=False)]
                elif masks and i != 2:
                    found.masks[below] = _mask(found.boxes[below][0], i)
                    objects = [_prediction(path, label, found.boxes[below][0], found.masks[below])]
                if i == 0:  # the second class, at the same place
                    objects.append(_prediction(path, 2, (3.0, 4.0, 20.0, 21.0), None, rank=2))
                found.rows.append(ImageRow(str(path), tuple(objects)))
    found.rows.append(ImageRow(str(root / "train/cat/broken.jpg"), (), "broken.jpg is not a readable image"))
    return found


def _box(rng: np.random.Generator) -> tuple[float, ...]:
    x, y = rng.uniform(0, 60), rng.uniform(0, 40)
    return tuple(round(float(c), 2) for c in (x, y, x + rng.uniform(40, 100), y + rng.uniform(40, 80)))


def _mask(box: tuple[float, ...], kind: int) -> np.ndarray:
    """Return an ellipse in a box; with a hole for an even `kind`, in two halves for kind 3."""
    x0, y0, x1, y1 = (round(c) for c in box)
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2 - 1, (y1 - y0) // 2 - 1)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    if kind % 2 == 0:
        cv2.circle(mask, centre, 10, 0, -1)
    if kind == 3:
        mask[:, centre[0] - 3 : centre[0] + 3] = 0
    return mask > 0


def _prediction(path, label, box, mask, rank=1, is_found=True):
    return Prediction(
        str(path), *SIZE, rank, CLASSES[label], label, 0.9 / rank, 1, tuple(box), is_found,
        mask=None if mask is None else encode_mask(mask),
    )  # fmt: skip


def iou(one: np.ndarray, two: np.ndarray) -> float:
    """Return the IoU of two masks."""
    return float((one & two).sum() / (one | two).sum())
