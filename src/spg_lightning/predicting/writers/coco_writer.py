"""Write COCO results, and a complete COCO data set."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spg_lightning.predicting.rows import ImageRow, Prediction
from spg_lightning.predicting.writers.annotations import annotated_objects, outlines, sized_rows, write_list
from spg_lightning.predicting.writers.writer import Rows
from spg_lightning.utils.atomic import atomically


class CocoWriter:
    """Writes coco_results.json, coco_images.json with its image ids, and the data set coco.json with the same ids.

    A category's id is its class index + 1.
    """

    def write(self, folder: Path, rows: Rows, class_names: Sequence[str]) -> None:
        """Write the files; see `Writer.write`. Results hold every row, as benchmarks want them; the data set
        holds the most probable class where an object was found.
        """
        with atomically(folder / "coco_images.json", "w", encoding="utf-8") as file:
            write_list(file, ({"id": number, "file_name": row.image} for number, row in _numbered(rows)))
            file.write("\n")
        with atomically(folder / "coco_results.json", "w", encoding="utf-8") as file:
            write_list(file, (_result(found, number) for number, row in _numbered(rows) for found in row.objects))
            file.write("\n")
        with atomically(folder / "coco.json", "w", encoding="utf-8") as file:
            file.write('{\n  "images": ')
            write_list(file, _images(rows), indent=4)
            file.write(',\n  "categories": ')
            write_list(file, ({"id": k + 1, "name": name} for k, name in enumerate(class_names)), indent=4)
            file.write(',\n  "annotations": ')
            write_list(file, _annotations(rows), indent=4)
            file.write("\n}\n")


def _numbered(rows: Rows) -> Iterator[tuple[int, ImageRow]]:
    """Yield the id and row of each image that could be read."""
    yield from enumerate((row for row in rows if not row.error), start=1)


def _images(rows: Rows) -> Iterator[dict[str, Any]]:
    numbers = {row.image: number for number, row in _numbered(rows)}
    for row, (width, height) in sized_rows(rows):
        yield {"id": numbers[row.image], "file_name": row.image, "width": width, "height": height}


def _annotations(rows: Rows) -> Iterator[dict[str, Any]]:
    number = 0
    for image_id, row in _numbered(rows):
        for found in annotated_objects(row):
            number += 1
            segmentation: Any = found.mask or []
            if found.polygons:
                segmentation = [[round(c, 2) for c in polygon] for polygon in outlines(found)]
            yield {"id": number, **_common(found, image_id), "area": _area(found), "iscrowd": 0} | {
                "segmentation": segmentation, "score": found.score,
            }  # fmt: skip


def _result(found: Prediction, image_id: int) -> dict[str, Any]:
    result = {**_common(found, image_id), "score": found.score}
    return result | {"segmentation": found.mask} if found.mask else result


def _common(found: Prediction, image_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = found.box
    box = [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)]
    return {"image_id": image_id, "category_id": found.class_index + 1, "bbox": box}


def _area(found: Prediction) -> float:
    """Return the number of pixels of the mask; of the box without one."""
    if found.mask is None:
        return round((found.box[2] - found.box[0]) * (found.box[3] - found.box[1]), 2)
    from pycocotools.mask import area

    return float(area({**found.mask, "counts": found.mask["counts"].encode("ascii")}))
