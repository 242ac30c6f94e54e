"""Build the records of a split from the rows that a reader found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from spg_lightning.data.packed_strings import PackedStringLists, PackedStrings
from spg_lightning.data.records import Records
from spg_lightning.data.validation.image_sizes import Box, checked_box, read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError


def build_records(
    root: Path,
    images: Sequence[str],
    labels: Sequence[int],
    class_names: Sequence[str],
    boxes: Sequence[Sequence[Box]] = (),
    masks: Sequence[Sequence[str]] = (),
    apply_exif_orientation: bool = False,
) -> Records:
    """Return the records of a split, for a reader of your own. Reads the images' sizes and checks the boxes.

    Args:
        root: folder that `images` and `masks` are relative to.
        images: paths.
        labels: class index of each image.
        class_names: in the order of the labels.
        boxes: of each image, x0 y0 x1 y1 in pixels, x1 and y1 exclusive; empty if the split has none.
        masks: mask files of each image, whose union is the object; empty if the split has none.
        apply_exif_orientation: see `Records`.

    Raises:
        UserError: an image is missing or unreadable, a label or box is invalid, or the lengths differ.
    """
    for name, column in (("labels", labels), ("boxes", boxes), ("masks", masks)):
        if len(column) not in (len(images), 0 if name != "labels" else -1):
            raise UserError(f"{root}: the reader gives {len(images)} images, but {len(column)} {name}")
    bad = next((i for i, label in enumerate(labels) if not 0 <= label < len(class_names)), None)
    if bad is not None:
        raise UserError(
            f"{root / images[bad]}: label {labels[bad]} is not the index of one of {len(class_names)} classes"
        )
    issues = IssueCollector.of(root)
    sizes, keep = read_image_sizes(root, images, str(root), issues, apply_exif_orientation)
    checked: dict[int, list[Box]] = {}
    for i, of_image in enumerate(boxes):
        path = root / images[i]
        found = [checked_box(box, tuple(sizes[i].tolist()), str(path), issues, path) for box in of_image if keep[i]]
        checked[i] = [box for box in found if box is not None]
    return assemble(root, images, labels, sizes, keep, checked, class_names, masks, apply_exif_orientation)


def assemble(
    root: Path,
    images: Sequence[str],
    labels: Sequence[int],
    sizes: Int[np.ndarray, "N 2"],
    keep: Bool[np.ndarray, " N"],
    boxes: Mapping[int, Sequence[Box]],
    class_names: Sequence[str],
    masks: Sequence[Sequence[str]] = (),
    apply_exif_orientation: bool = False,
) -> Records:
    """Return the records of the images with `keep`.

    Args:
        root: folder that `images` are relative to.
        images, labels, sizes, keep, masks: one per image.
        boxes: index of an image -> its boxes; images without boxes may be absent.
        class_names: see `Records`.
        apply_exif_orientation: see `Records`.
    """
    chosen = np.flatnonzero(keep).tolist()
    of_image = [boxes.get(i, ()) for i in chosen]
    return Records(
        root=root,
        images=PackedStrings.of(images[i] for i in chosen),
        labels=np.asarray(labels, dtype=np.int64)[chosen],
        sizes=sizes[chosen],
        boxes=np.array([box for group in of_image for box in group], dtype=np.float64).reshape(-1, 4),
        box_offsets=np.cumsum([0, *map(len, of_image)], dtype=np.int64),
        class_names=tuple(class_names),
        masks=PackedStringLists.of([masks[i] for i in chosen]) if masks else (),
        apply_exif_orientation=apply_exif_orientation,
    )
