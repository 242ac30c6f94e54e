"""Put together the records of a split from what a reader found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from spg_lightning.data.packed_strings import PackedStringLists, PackedStrings
from spg_lightning.data.records import Records
from spg_lightning.data.validation.image_sizes import Box


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
    """Return records of the images with `keep`.

    Args:
        root: that `images` are relative to.
        images, labels, sizes, keep, masks: one an image.
        boxes: index of an image -> its boxes; images without any may be left out.
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
