"""Write tasks for Label Studio, with predictions to accept or correct."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from spg_lightning.data.readers.label_studio_file import IMAGE_PATH
from spg_lightning.predicting.rows import ImageRow, Prediction
from spg_lightning.predicting.writers.annotations import annotated_objects, outlines, sized_rows, write_list, xml_text
from spg_lightning.predicting.writers.writer import Rows
from spg_lightning.utils.atomic import atomically


class LabelStudioWriter:
    """Writes label_studio/tasks.json, and label_studio/label_config.xml for the project's labelling interface.

    Args:
        prefix: of the images' addresses. Label Studio serves local files at /data/local-files/?d=<path>.
        document_root: folder that the paths after the prefix are relative to: Label Studio's own root for local files.
        model_version: name of these predictions in Label Studio.
    """

    def __init__(self, prefix: str, document_root: str, model_version: str) -> None:
        self.prefix, self.document_root, self.model_version = prefix, document_root, model_version

    def write(self, folder: Path, rows: Rows, class_names: Sequence[str]) -> None:
        """Write the files; see `Writer.write`."""
        with atomically(folder / "label_studio" / "tasks.json", "w", encoding="utf-8") as file:
            write_list(file, self._tasks(rows))
            file.write("\n")
        with atomically(folder / "label_studio" / "label_config.xml") as file:
            file.write(_label_config(class_names))

    def _tasks(self, rows: Rows) -> Iterator[dict[str, Any]]:
        for row, size in sized_rows(rows):
            objects = annotated_objects(row)
            results = [result for k, found in enumerate(objects) for result in _results(found, k, size)]
            prediction = {
                "model_version": self.model_version,
                "score": max((found.score for found in objects), default=0.0),
                "result": results,
            }
            yield {"data": {"image": self._address(row), IMAGE_PATH: row.image}, "predictions": [prediction]}

    def _address(self, row: ImageRow) -> str:
        path, root = Path(row.image).absolute(), Path(self.document_root).expanduser().absolute()
        below = path.relative_to(root) if path.is_relative_to(root) else Path(row.image)
        return self.prefix + quote(below.as_posix(), errors="surrogateescape")


def _results(found: Prediction, number: int, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Yield an object's rectangle, and below it its polygons, in percent of the image."""
    x0, y0, x1, y1 = found.box
    across, down = 100 / size[0], 100 / size[1]
    common = {
        "to_name": "image", "original_width": size[0], "original_height": size[1], "image_rotation": 0, "score": found.score,
    }  # fmt: skip
    box = {"x": x0 * across, "y": y0 * down, "width": (x1 - x0) * across, "height": (y1 - y0) * down, "rotation": 0}
    yield {
        "id": f"box{number}", "type": "rectanglelabels", "from_name": "box", **common,
        "value": {**box, "rectanglelabels": [found.class_name]},
    }  # fmt: skip
    for k, polygon in enumerate(outlines(found)):
        points = [[x * across, y * down] for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
        yield {
            "id": f"box{number}outline{k}", "parentID": f"box{number}", "type": "polygonlabels", "from_name": "outline",
            **common, "value": {"points": points, "closed": True, "polygonlabels": [found.class_name]},
        }  # fmt: skip


def _label_config(class_names: Sequence[str]) -> bytes:
    root = Element("View")
    SubElement(root, "Image", name="image", value="$image", zoom="true")
    for tag, name in (("RectangleLabels", "box"), ("PolygonLabels", "outline")):
        labels = SubElement(root, tag, name=name, toName="image")
        for class_name in class_names:
            SubElement(labels, "Label", value=xml_text(class_name))
    indent(root)
    return tostring(root, encoding="utf-8") + b"\n"
