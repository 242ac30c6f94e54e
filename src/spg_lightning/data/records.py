"""One table that every reader fills: images, labels, boxes, masks, class names."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from spg_lightning.data.packed_strings import PackedStringLists, PackedStrings, rows_of

MIN_ANNOTATED_VAL = 20  # images with ground truth that val gets first: fewer choose a threshold badly
IMAGE_EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".heic", ".heif"}


def drop_image_extension(name: str) -> str:
    """Return a path without an image's extension; what else follows a dot belongs to the name."""
    return str(Path(name).with_suffix("")) if Path(name).suffix.lower() in IMAGE_EXTENSIONS else name


@dataclass(frozen=True)
class Records:
    """The images of one split, column by column.

    Attributes:
        root: folder that `images`, `masks` and `ignored` are relative to.
        images: N paths, which are the images' ids wherever they are written. Where ids are read, the extension may be missing.
        labels: (N,) class indices.
        sizes: (N, 2) widths and heights in pixels.
        boxes: (M, 4) ground truth of all images, x0 y0 x1 y1 in pixels of the image, x1 and y1 exclusive; empty where the
            data set has none.
        box_offsets: (N + 1,); image i has the boxes box_offsets[i] up to box_offsets[i + 1].
        class_names: K names.
        masks: N lists of mask files, whose union is the object; empty where the data set has none.
        ignored: N mask files of regions that count neither as object nor as background, "" for none; or empty.
        mask_above: a mask's pixels brighter than this belong to it.
        apply_exif_orientation: images are turned as their EXIF orientation says, and sizes, boxes and masks refer to the turned image;
            otherwise all of them refer to the pixels as stored.
        origin: a function that reads these records from an index again, and its arguments, where they come from one whole.
    """

    root: Path
    images: Sequence[str]
    labels: Int[np.ndarray, " N"]
    sizes: Int[np.ndarray, "N 2"]
    boxes: Float[np.ndarray, "M 4"]
    box_offsets: Int[np.ndarray, " N1"]
    class_names: tuple[str, ...]
    masks: Sequence[tuple[str, ...]] = field(default=())
    ignored: Sequence[str] = field(default=())
    mask_above: int = 127
    apply_exif_orientation: bool = False
    origin: tuple[Callable[..., "Records"], tuple[Any, ...]] | None = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send records from an index to another process as the index's name: it maps the same pages."""
        if self.origin is not None:
            return self.origin
        return Records, tuple(getattr(self, column.name) for column in fields(self))

    def __len__(self) -> int:
        return len(self.images)

    def boxes_of(self, index: int) -> Float[np.ndarray, "n 4"]:
        """Return the ground-truth boxes of one image, in its own pixels."""
        return self.boxes[self.box_offsets[index] : self.box_offsets[index + 1]]

    @property
    def is_annotated(self) -> Bool[np.ndarray, " N"]:
        """Which images have a box or a mask."""
        has_box = np.diff(self.box_offsets) > 0
        return has_box | np.array([bool(files) for files in self.masks], dtype=bool) if self.masks else has_box

    def take(self, indices: Int[np.ndarray, " n"]) -> "Records":
        """Return the records at `indices`, in that order."""
        rows, offsets = rows_of(self.box_offsets, indices)
        return replace(
            self,
            origin=None,
            images=PackedStrings.of(self.images).take(indices),
            labels=self.labels[indices],
            sizes=self.sizes[indices],
            boxes=self.boxes[rows],
            box_offsets=offsets,
            masks=PackedStringLists.of(self.masks).take(indices) if self.masks else (),
            ignored=PackedStrings.of(self.ignored).take(indices) if self.ignored else (),
        )


@dataclass(frozen=True)
class Splits:
    """What a reader returns. `val` is None where the data set brings none; it is then held out of `train`."""

    train: Records
    val: Records | None
    test: Records


def stratified_holdout(
    records: Records, share: float, seed: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """Hold out `share` of each class (at least one image of a class with two or more), the same for the same seed.

    Where only some images have boxes or masks, these are held out first, `MIN_ANNOTATED_VAL` of them even if that is more than
    `share`.

    Returns:
        The rows that remain, and those that are held out.
    """
    rng = np.random.default_rng(seed)
    is_held, annotated = np.zeros(len(records), dtype=bool), records.is_annotated
    total = int(annotated.sum())
    for label in range(len(records.class_names)):
        of_class = np.flatnonzero(records.labels == label)
        count = max(round(share * len(of_class)), 1) if len(of_class) > 1 else 0
        shuffled = rng.permutation(of_class)
        if 0 < total < len(records):
            shuffled = shuffled[np.argsort(~annotated[shuffled], kind="stable")]
            count = max(count, annotated_share(int(annotated[of_class].sum()), total, len(of_class)))
        is_held[shuffled[:count]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def annotated_share(annotated: int, total: int, images: int) -> int:
    """Return how many annotated images of a class val gets first: its share of `MIN_ANNOTATED_VAL`.

    At most half of the class goes to val, so that enough of it is left to train on.

    Args:
        annotated: images of the class with ground truth.
        total: images of all classes with ground truth.
        images: of the class.
    """
    return min(math.ceil(MIN_ANNOTATED_VAL * annotated / max(total, 1)), annotated, images // 2)
