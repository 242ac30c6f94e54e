"""Read a COCO file: boxes, and segmentations as polygons or run lengths."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spg_lightning.data.readers.folder_images import Annotation, FolderImages, Mask, read_numbers
from spg_lightning.errors import UserError
from spg_lightning.localization.polygons import mask_of_polygons


def read_coco(path: Path, images: FolderImages, content: Any) -> Iterator[Annotation]:
    """Yield the annotations of a file.

    Args:
        path: of the file.
        images: that it annotates.
        content: of the file.

    Raises:
        UserError: it is no COCO file, or a row is wrong.
    """
    try:
        names: dict[object, str] = {}
        for image in content["images"]:
            if image["id"] in names:
                raise UserError(f"{path}: two images have the id {image['id']}; ids have to differ")
            names[image["id"]] = str(image["file_name"])
        annotations = list(content["annotations"])
    except (KeyError, TypeError):
        raise UserError(
            f"{path} is not a COCO file: it needs images, each with id and file_name, and annotations; export it again"
        ) from None
    for number, annotation in enumerate(annotations, start=1):
        where = f"{path}, annotation {annotation.get('id', number) if isinstance(annotation, dict) else number}"
        try:
            x, y, width, height = (float(side) for side in annotation["bbox"])
            name = names.get(annotation["image_id"])
        except (ValueError, KeyError, TypeError, OverflowError):
            raise UserError(f"{where}: no image_id, or no bbox x, y, width, height; correct it") from None
        if name is None:
            raise UserError(f"{where}: image_id {annotation['image_id']} is not the id of an image; correct it")
        if (index := images.find(name, where)) is not None:
            segmentation = annotation.get("segmentation")
            draw = partial(_draw, segmentation, index, where, images) if segmentation else None
            yield Annotation(index, where, (x, y, x + width, y + height), draw)


def _draw(segmentation: Any, index: int, where: str, images: FolderImages) -> Mask:
    """Return the pixels of a segmentation."""
    if isinstance(segmentation, Mapping):
        return _run_lengths(segmentation, images.size(index), where)
    if not isinstance(segmentation, list):
        raise UserError(f"{where}: the segmentation is neither polygons nor run lengths; correct it")
    polygons = []
    for points in segmentation:
        flat = read_numbers(points if isinstance(points, list) else [None], None, where, "polygons [x, y, x, y, ...]")
        polygons.append(images.checked_polygon(flat, index, where))
    return mask_of_polygons([polygon for polygon in polygons if polygon is not None], images.size(index))


def _run_lengths(segmentation: Mapping[str, Any], size: tuple[int, int], where: str) -> Mask:
    """Return the pixels of COCO's run lengths: column by column, from a run of background."""
    width, height = size
    counts = segmentation.get("counts")
    if segmentation.get("size") != [height, width]:
        raise UserError(
            f"{where}: run lengths of an image of height and width {str(segmentation.get('size'))[:40]}, "
            f"but it has {[height, width]}; correct the size"
        )
    try:
        runs = np.array(_decompressed(counts) if isinstance(counts, str) else counts, dtype=np.int64)
        if runs.ndim != 1 or (runs < 0).any() or (runs > width * height).any() or runs.sum() != width * height:
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"{where}: its run lengths do not fill {width} x {height} pixels; correct them") from None
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed text.

    pycocotools does not check their sum: for too short a text it returns pixels from uninitialized memory.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise ValueError
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the sign
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)  # differences to the run before the previous one
        value = shift = 0
    return runs
