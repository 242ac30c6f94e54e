"""What every annotation format takes from the rows of a prediction: objects, sizes of images, unique names, lists on disk."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from spg_lightning.data.validation.image_sizes import size_of
from spg_lightning.localization.polygons import Polygon, polygons_of_mask
from spg_lightning.predicting.rows import ImageRow, Prediction
from spg_lightning.predicting.writers.writer import Rows

LONGEST = 180  # bytes of a part of a path; file systems allow 255, and endings follow
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def annotated_objects(row: ImageRow) -> list[Prediction]:
    """Return the objects that a format keeps: of the most probable class, as the others are other names for the same place."""
    return [
        found
        for found in row.objects
        if found.found and found.rank == 1 and found.box[0] < found.box[2] and found.box[1] < found.box[3]
    ]


def sized_rows(rows: Rows) -> Iterator[tuple[ImageRow, tuple[int, int]]]:
    """Yield each image that could be read with its width and height, as turned by its EXIF orientation."""
    for row in rows:
        if row.error:
            continue
        # without any object only the file itself tells its size
        size = (row.objects[0].width, row.objects[0].height) if row.objects else size_of(Path(row.image), True)
        if not isinstance(size, str):
            yield row, size


def has_masks(rows: Rows) -> bool:
    """Return whether any annotated object has a mask or polygons."""
    return any(found.mask or found.polygons for row in rows for found in annotated_objects(row))


def outlines(found: Prediction) -> list[Polygon]:
    """Return the polygons of an object, from its mask where it has none; empty without a mask."""
    if found.polygons is not None:
        return found.polygons
    mask = found.pixels()
    return [] if mask is None else polygons_of_mask(mask)


def common_folder(rows: Rows) -> Path:
    """Return the deepest folder that all images lie below."""
    folder: str | None = None
    for row in rows:
        parent = str(Path(row.image).absolute().parent)
        folder = parent if folder is None else os.path.commonpath([folder, parent])
    return Path(folder or "/")


def unique_names(rows: Rows) -> Iterator[str]:
    """Yield a path for each row: that of its image below the folder of all images, without the extension.

    Characters that file systems or tools do not accept become `_`; what then collides gets a number.
    """
    folder, taken = common_folder(rows), set[str]()
    for row in rows:
        parts = Path(row.image).absolute().relative_to(folder).with_suffix("").parts
        plain = "/".join(_plain(part) for part in parts)
        name, k = plain, 2
        while name.lower() in taken:  # some file systems ignore case
            name, k = f"{plain}_{k}", k + 1
        taken.add(name.lower())
        yield name


def write_list(file: IO[str], items: Iterable[Any], indent: int = 2) -> None:
    """Write a JSON list item by item, as `json.dumps(list(items), indent=2)` lays it out."""
    space, is_empty = " " * indent, True
    for item in items:
        text = json.dumps(item, indent=2, allow_nan=False).replace("\n", f"\n{space}")
        file.write(f"{'[' if is_empty else ','}\n{space}{text}")
        is_empty = False
    file.write("[]" if is_empty else f"\n{space[2:]}]")


def xml_text(text: str) -> str:
    """Return a text with those characters replaced that XML cannot hold, even escaped."""
    return NOT_XML.sub("\ufffd", text)


def _plain(part: str) -> str:
    """Return a part of a path that every file system and tool accepts."""
    text = re.sub(r"[^\w.-]", "_", part)
    if text == "images":  # Ultralytics replaces the last /images/ of a path by /labels/
        text = "images_"
    if len(text.encode()) <= LONGEST:
        return text
    code = hashlib.sha256(part.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{text.encode()[: LONGEST - 13].decode(errors='ignore')}_{code}"
