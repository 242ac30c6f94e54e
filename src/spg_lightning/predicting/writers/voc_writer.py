"""Write annotations in Pascal VOC's format."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from PIL import Image

from spg_lightning.predicting.rows import ImageRow, Prediction
from spg_lightning.predicting.writers.annotations import (
    annotated_objects,
    has_masks,
    sized_rows,
    unique_names,
    xml_text,
)
from spg_lightning.predicting.writers.writer import Rows
from spg_lightning.utils.atomic import atomically, replacing

LARGEST_CLASS = 254  # 0 is the background, 255 the void


class VocWriter:
    """Writes voc/Annotations/<image>.xml and voc/ImageSets/Main/default.txt.

    Where objects have masks, also voc/SegmentationClass/<image>.png and voc/SegmentationObject/<image>.png, whose values are the
    class index + 1 and the number of the object, and voc/labelmap.txt with the colours.
    """

    def write(self, folder: Path, rows: Rows, class_names: Sequence[str]) -> None:
        """Write the files; see `Writer.write`."""
        root, segmented = folder / "voc", has_masks(rows) and len(class_names) <= LARGEST_CLASS
        with atomically(root / "ImageSets" / "Main" / "default.txt", "w", encoding="utf-8") as file:
            for name in self._annotations(root, rows, segmented):
                file.write(f"{name}\n")
        if segmented:
            palette = _palette()
            with atomically(root / "labelmap.txt", "w", encoding="utf-8") as file:
                for k, name in enumerate(["background", *class_names]):
                    colour = ",".join(str(value) for value in palette[k])
                    file.write(f"{' '.join(name.replace(':', ' ').split())}:{colour}::\n")

    def _annotations(self, root: Path, rows: Rows, segmented: bool) -> Iterator[str]:
        """Write the files of each image and yield its name."""
        names = dict(zip((row.image for row in rows), unique_names(rows), strict=True))
        for row, size in sized_rows(rows):
            name, objects = names[row.image], annotated_objects(row)
            with replacing(root / "Annotations" / f"{name}.xml") as file:
                file.write(_annotation(row, objects, size, segmented))
            if segmented:
                _write_pictures(root, name, objects, size)
            yield name


def _annotation(row: ImageRow, objects: Sequence[Prediction], size: tuple[int, int], segmented: bool) -> bytes:
    root = Element("annotation")
    path = Path(row.image)
    for tag, text in (("folder", path.parent.name), ("filename", path.name), ("path", row.image)):
        SubElement(root, tag).text = xml_text(text)
    shape = SubElement(root, "size")
    for tag, side in zip(("width", "height", "depth"), (*size, 3), strict=True):
        SubElement(shape, tag).text = str(side)
    SubElement(root, "segmented").text = str(int(segmented))
    for found in objects:
        node = SubElement(root, "object")
        texts = {"name": xml_text(found.class_name), "pose": "Unspecified", "truncated": "0", "difficult": "0"}
        for tag, text in texts.items():
            SubElement(node, tag).text = text
        box = SubElement(node, "bndbox")
        for tag, corner in zip(("xmin", "ymin", "xmax", "ymax"), _touched_pixels(found), strict=True):
            SubElement(box, tag).text = str(corner)
    indent(root)
    return tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _touched_pixels(found: Prediction) -> tuple[int, int, int, int]:
    """Return the first and last pixels that a box touches, counted from 1 as the format does."""
    x0, y0, x1, y1 = found.box
    left, top = min(math.floor(x0), found.width - 1), min(math.floor(y0), found.height - 1)
    return left + 1, top + 1, max(math.ceil(x1), left + 1), max(math.ceil(y1), top + 1)


def _write_pictures(root: Path, name: str, objects: Sequence[Prediction], size: tuple[int, int]) -> None:
    """Write an image's pixels by class and by object."""
    classes, numbers = np.zeros(size[::-1], np.uint8), np.zeros(size[::-1], np.uint8)
    for number, found in enumerate(objects[:LARGEST_CLASS], start=1):
        mask = found.pixels()
        if mask is not None:
            classes[mask], numbers[mask] = found.class_index + 1, number
    for folder, values in (("SegmentationClass", classes), ("SegmentationObject", numbers)):
        picture = Image.fromarray(values)
        picture.putpalette(_palette().ravel().tolist())
        with replacing(root / folder / f"{name}.png") as file:
            picture.save(file, "PNG")


def _palette() -> np.ndarray:
    """Return the colours of the data set's own pictures: the bits of an index in turn go to red, green and blue, high bits first."""
    index = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours
