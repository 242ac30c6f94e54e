"""One table that every reader fills: photos, labels, boxes, masks, class names."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

PHOTO_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}


def drop_photo_ending(name: str) -> str:
    """Return a path without a photo's extension; what else follows a dot belongs to the name."""
    return str(Path(name).with_suffix("")) if Path(name).suffix.lower() in PHOTO_ENDINGS else name


@dataclass(frozen=True)
class Records:
    """The photos of one split, column by column.

    Attributes:
        root: folder that `images`, `masks` and `ignored` are relative to.
        images: N paths; a path without its photo ending is the image's id.
        labels: (N,) class indices.
        sizes: (N, 2) widths and heights in pixels.
        boxes: (M, 4) ground truth of all photos, x0 y0 x1 y1 in pixels of the photo, x1 and y1 exclusive.
        box_offsets: (N + 1,); photo i has the boxes box_offsets[i] up to box_offsets[i + 1].
        class_names: K names.
        masks: N lists of mask files, whose union is the object; empty where the data set has none.
        ignored: N mask files of regions that count neither as object nor as background, "" for none; or empty.
        mask_above: a mask's pixels brighter than this belong to it.
    """

    root: Path
    images: tuple[str, ...]
    labels: Int[np.ndarray, " N"]
    sizes: Int[np.ndarray, "N 2"]
    boxes: Float[np.ndarray, "M 4"]
    box_offsets: Int[np.ndarray, " N1"]
    class_names: tuple[str, ...]
    masks: tuple[tuple[str, ...], ...] = field(default=())
    ignored: tuple[str, ...] = field(default=())
    mask_above: int = 127

    def __len__(self) -> int:
        return len(self.images)

    def boxes_of(self, index: int) -> Float[np.ndarray, "n 4"]:
        """Return the ground-truth boxes of one photo, in its own pixels."""
        return self.boxes[self.box_offsets[index] : self.box_offsets[index + 1]]

    def image_id(self, index: int) -> str:
        """Return the image's id: its path with slashes kept and the extension dropped."""
        return drop_photo_ending(self.images[index])

    def take(self, indices: Int[np.ndarray, " n"]) -> "Records":
        """Return the records at `indices`, in that order."""
        counts = np.diff(self.box_offsets)[indices]
        rows = [np.arange(self.box_offsets[i], self.box_offsets[i + 1]) for i in indices]
        return Records(
            root=self.root,
            images=tuple(self.images[i] for i in indices),
            labels=self.labels[indices],
            sizes=self.sizes[indices],
            boxes=self.boxes[np.concatenate(rows) if rows else []],
            box_offsets=np.concatenate([[0], np.cumsum(counts)]),
            class_names=self.class_names,
            masks=tuple(self.masks[i] for i in indices) if self.masks else (),
            ignored=tuple(self.ignored[i] for i in indices) if self.ignored else (),
            mask_above=self.mask_above,
        )


@dataclass(frozen=True)
class Splits:
    """What a reader returns. `val` is None where the data set brings none; it is then held out of `train`."""

    train: Records
    val: Records | None
    test: Records


def hold_out(records: Records, share: float, seed: int) -> tuple[Records, Records]:
    """Split off `share` of each class (at least one photo of a class with two or more), the same for the same seed.

    Returns:
        What remains, and what was held out, both in the original order.
    """
    rng = np.random.default_rng(seed)
    held: list[int] = []
    for label in range(len(records.class_names)):
        of_class = np.flatnonzero(records.labels == label)
        count = max(round(share * len(of_class)), 1) if len(of_class) > 1 else 0
        held.extend(rng.permutation(of_class)[:count].tolist())
    is_held = np.zeros(len(records), dtype=bool)
    is_held[held] = True
    return records.take(np.flatnonzero(~is_held)), records.take(np.flatnonzero(is_held))
