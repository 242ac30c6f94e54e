"""Read a file in the format "CVAT for images 1.1": boxes, polygons and masks."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from spg_lightning.data.readers.folder_images import Annotation, FolderImages, Mask, bounds_of, read_numbers
from spg_lightning.data.xml_files import parse_xml
from spg_lightning.errors import UserError
from spg_lightning.localization.polygons import mask_of_polygons
from spg_lightning.utils.pipes import refuse_pipe

HOLDS = "annotations in the format CVAT for images 1.1"


def read_cvat(path: Path, images: FolderImages) -> Iterator[Annotation]:
    """Yield the annotations of a file. An outline in a group with a box belongs to this box.

    Raises:
        UserError: it is no such file, or an element is wrong.
    """
    refuse_pipe(path)
    try:
        root = parse_xml(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not XML that can be read ({error}); it holds {HOLDS}") from None
    if root.find("track") is not None:
        raise UserError(f"{path} is in the format CVAT for video; export it as CVAT for images 1.1")
    if root.tag != "annotations":
        raise UserError(f"{path} does not hold {HOLDS}; Pascal VOC's files are given as their folder")
    seen: set[int] = set()
    for number, image in enumerate(root.findall("image"), start=1):
        name = image.get("name", "")
        where = f"{path}, image {number} ({' '.join(name.split())[:100]})"
        index = images.find(name, where)
        if index is None:
            continue
        if index in seen:
            raise UserError(f"{where}: the image is listed twice; keep one element")
        seen.add(index)
        size = images.size(index)
        if (image.get("width"), image.get("height")) != (str(size[0]), str(size[1])):
            raise UserError(
                f"{where}: {image.get('width', '?')[:20]} x {image.get('height', '?')[:20]} pixels, but the image has "
                f"{size[0]} x {size[1]}; use the same image"
            )
        boxed = {box.get("group_id") for box in image.findall("box")} - {None, "0"}
        for row, shape in enumerate(image, start=1):
            yield from _annotation(shape, index, f"{where}, element {row}", images, shape.get("group_id") in boxed)


def _annotation(shape: Element, index: int, where: str, images: FolderImages, has_box: bool) -> Iterator[Annotation]:
    size = images.size(index)
    if shape.tag == "box":
        corners = [shape.get(name) for name in ("xtl", "ytl", "xbr", "ybr")]
        x0, y0, x1, y1 = read_numbers(corners, 4, where, "xtl, ytl, xbr, ybr")
        if shape.get("rotation", "0") not in ("0", "0.0", "0.00"):
            raise UserError(f"{where}: the box is rotated; draw an upright one")
        yield Annotation(index, where, (x0, y0, x1, y1))
    elif shape.tag == "polygon":
        pairs = [point.split(",") for point in shape.get("points", "").split(";")]
        flat = [number for pair in pairs for number in read_numbers(pair, 2, where, 'points="x,y;x,y;..."')]
        if (polygon := images.checked_polygon(flat, index, where)) is not None:
            box = None if has_box else bounds_of([polygon])
            yield Annotation(index, where, box, partial(mask_of_polygons, [polygon], size))
    elif shape.tag == "mask":
        window = _window(shape, size, where)
        left, top, right, bottom = window
        box = None if has_box else (float(left), float(top), float(right), float(bottom))
        yield Annotation(index, where, box, partial(_draw, shape.get("rle", ""), window, size, where))


def _window(shape: Element, size: tuple[int, int], where: str) -> tuple[int, int, int, int]:
    """Return the window of a mask: left, top, right, bottom."""
    try:
        left, top, width, height = (int(shape.get(name, "")) for name in ("left", "top", "width", "height"))
    except ValueError:
        raise UserError(f"{where}: the mask needs integers left, top, width, height") from None
    if min(left, top) < 0 or min(width, height) < 1 or left + width > size[0] or top + height > size[1]:
        raise UserError(f"{where}: the mask exceeds its image of {size[0]} x {size[1]} pixels")
    return left, top, left + width, top + height


def _draw(text: str, window: tuple[int, int, int, int], size: tuple[int, int], where: str) -> Mask:
    """Return the pixels of CVAT's run lengths: row by row in the window, from a run of background."""
    left, top, right, bottom = window
    width, height = right - left, bottom - top
    try:
        counts = [int(word) for word in text.split(",")]
        if min(counts) < 0 or sum(counts) != width * height:
            raise ValueError
    except ValueError:
        raise UserError(f"{where}: its run lengths do not fill {width} x {height} pixels; correct them") from None
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[top:bottom, left:right] = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return mask
