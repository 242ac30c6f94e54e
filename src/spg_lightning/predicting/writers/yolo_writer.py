"""Write a data set in Ultralytics' YOLO format."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from spg_lightning.errors import UserError
from spg_lightning.localization.polygons import join_polygons
from spg_lightning.predicting.rows import Prediction
from spg_lightning.predicting.writers.annotations import annotated_objects, has_masks, outlines, unique_names
from spg_lightning.predicting.writers.writer import Rows
from spg_lightning.utils.atomic import atomically, replacing

IMAGES = ("link", "copy", "none")


class YoloWriter:
    """Writes yolo/data.yaml, yolo/labels/<image>.txt, yolo/images/<image>, and yolo/sources.json: the images' own paths.

    Labels are boxes, or polygons where any object has a mask, as the format does not mix them.

    Args:
        images: "link" the images into yolo/images, "copy" them, or "none".

    Raises:
        UserError: another value.
    """

    def __init__(self, images: str) -> None:
        if images not in IMAGES:
            raise UserError(f"writer.yolo.images={images}: choose {', '.join(IMAGES)}")
        self.images = images

    def write(self, folder: Path, rows: Rows, class_names: Sequence[str]) -> None:
        """Write the files; see `Writer.write`. An image without objects has an empty label file."""
        root, segments = folder / "yolo", has_masks(rows)
        with atomically(root / "sources.json", "w", encoding="utf-8") as file:
            for number, (name, image) in enumerate(self._labels(root, rows, segments)):
                file.write(f"{',' if number else '{'}\n  {json.dumps(name)}: {json.dumps(image)}")
            file.write("\n}\n" if any(not row.error for row in rows) else "{}\n")
        names = dict(enumerate(class_names))
        content = {"path": str(root.absolute()), "train": "images", "val": "images", "names": names}
        with atomically(root / "data.yaml", "w", encoding="utf-8") as file:
            file.write("# Labels drawn by a model. path: is this folder.\n")
            yaml.safe_dump(content, file, allow_unicode=True, sort_keys=False)

    def _labels(self, root: Path, rows: Rows, segments: bool) -> Iterator[tuple[str, str]]:
        """Write label and image of each row; yield the label's name and the image's path."""
        for row, name in zip(rows, unique_names(rows), strict=True):
            if row.error:
                continue
            lines = [_label(found, segments) for found in annotated_objects(row)]
            with replacing(root / "labels" / f"{name}.txt") as file:
                file.write("".join(f"{line}\n" for line in lines).encode())
            self._place(Path(row.image).absolute(), root / "images" / f"{name}{Path(row.image).suffix.lower()}")
            yield name, row.image

    def _place(self, image: Path, target: Path) -> None:
        if self.images == "none":
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.unlink(missing_ok=True)
        if self.images == "link":
            temporary.symlink_to(image)
        else:
            shutil.copyfile(image, temporary)
        temporary.replace(target)


def _label(found: Prediction, segments: bool) -> str:
    """Return the row of an object, as fractions of the image."""
    x0, y0, x1, y1 = found.box
    size = (found.width, found.height)
    if not segments:
        numbers = [(x0 + x1) / 2 / size[0], (y0 + y1) / 2 / size[1], (x1 - x0) / size[0], (y1 - y0) / size[1]]
    else:
        polygons = outlines(found)
        points = join_polygons(polygons) if polygons else [x0, y0, x1, y0, x1, y1, x0, y1]
        numbers = [point / size[k % 2] for k, point in enumerate(points)]
    return " ".join([str(found.class_index), *(f"{min(max(number, 0), 1):.6f}" for number in numbers)])
