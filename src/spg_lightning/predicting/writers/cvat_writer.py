"""Write annotations in the format "CVAT for images 1.1"."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from spg_lightning.predicting.rows import Prediction
from spg_lightning.predicting.writers.annotations import annotated_objects, common_folder, sized_rows, xml_text
from spg_lightning.predicting.writers.writer import Rows
from spg_lightning.utils.atomic import atomically


class CvatWriter:
    """Writes cvat.xml: for each object a box, and its polygons or mask in the same group.

    Images are named by their path below the folder of all images, as CVAT names those of a task made from this folder.
    """

    def write(self, folder: Path, rows: Rows, class_names: Sequence[str]) -> None:
        """Write the file; see `Writer.write`."""
        above = common_folder(rows)
        with atomically(folder / "cvat.xml") as file:
            file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
            file.write(_text(_meta(class_names)))
            for number, (row, size) in enumerate(sized_rows(rows)):
                name = xml_text(Path(row.image).absolute().relative_to(above).as_posix())
                image = Element("image", id=str(number), name=name, width=str(size[0]), height=str(size[1]))
                for group, found in enumerate(annotated_objects(row), start=1):
                    _add(image, found, group)
                file.write(_text(image))
            file.write(b"</annotations>\n")


def _meta(class_names: Sequence[str]) -> Element:
    meta = Element("meta")
    labels = SubElement(SubElement(meta, "task"), "labels")
    for name in class_names:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = xml_text(name)
        SubElement(label, "attributes")
    return meta


def _add(image: Element, found: Prediction, group: int) -> None:
    """Add the shapes of an object."""
    common = {"label": xml_text(found.class_name), "source": "auto", "occluded": "0"}
    has_outline = found.mask is not None or bool(found.polygons)
    last = {"z_order": "0", "group_id": str(group)} if has_outline else {"z_order": "0"}
    corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), (f"{corner:.2f}" for corner in found.box), strict=True))
    SubElement(image, "box", common | corners | last)
    if found.polygons:
        for polygon in found.polygons:
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(polygon[::2], polygon[1::2], strict=True))
            SubElement(image, "polygon", common | {"points": points} | last)
        return
    mask = found.pixels()
    if mask is not None and mask.any():
        SubElement(image, "mask", common | _run_lengths(mask) | last)


def _run_lengths(mask: np.ndarray) -> dict[str, str]:
    """Return a mask as runs row by row in its window, from a run of background."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # two paddings: each run ends where the next value differs, and the first run is of background
    changes = np.flatnonzero(np.diff(np.concatenate([[False], window.ravel()])))
    runs = np.diff(np.concatenate([[0], changes, [window.size]]))
    height, width = window.shape
    place = {"left": columns[0], "top": rows[0], "width": width, "height": height}
    return {"rle": ", ".join(map(str, runs))} | {name: str(value) for name, value in place.items()}


def _text(element: Element) -> bytes:
    indent(element, level=1)
    return b"  " + tostring(element, encoding="utf-8").rstrip() + b"\n"
