"""Boxes for a folder of images, from annotation files."""

from collections.abc import Sequence

from spg_lightning.data.readers.annotation_files import read_annotations
from spg_lightning.data.readers.folder_images import FolderImages
from spg_lightning.data.validation.image_sizes import Box, checked_box


def read_boxes(
    files: Sequence[str] | str, images: FolderImages, key: str = "dataset.reader.boxes"
) -> dict[int, list[Box]]:
    """Return index of an image -> its boxes.

    Args:
        files: see `read_annotations`; one or several.
        images: that the files annotate; its `issues` takes boxes and rows that are wrong.
        key: of the setting, for messages.
    """
    boxes: dict[int, list[Box]] = {}
    for name in [files] if isinstance(files, str) else files:
        first: dict[tuple[int, Box], str] = {}
        for annotation in read_annotations(name, images, key):
            if annotation.box is None:
                continue
            index, where = annotation.index, annotation.where
            if (other := first.setdefault((index, annotation.box), where)) != where:
                images.report(index, f"{where}: the same box as {other}; delete one of them")
            path = images.root / images.names[index]
            if (inside := checked_box(annotation.box, images.size(index), where, images.issues, path)) is not None:
                boxes.setdefault(index, []).append(inside)
    return boxes
