"""Read a folder in Ultralytics' YOLO format: data.yaml, and labels/ with a text file an image."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from spg_lightning.data.json_files import read_json
from spg_lightning.data.readers.folder_images import Annotation, FolderImages, bounds_of, read_numbers
from spg_lightning.data.text_files import read_lines
from spg_lightning.errors import UserError
from spg_lightning.localization.polygons import mask_of_polygons

DATA, LABELS, SOURCES = "data.yaml", "labels", "sources.json"
ROW = "class x y width height, or class x y x y x y ..., as fractions of the image"


def read_yolo(path: Path, images: FolderImages) -> Iterator[Annotation]:
    """Yield the annotations of a folder. The path of a label file below labels/ names its image.

    Where sources.json maps these names to the images' paths, as the writer of predictions leaves it, it is used.

    Raises:
        UserError: a file or row is wrong.
    """
    count = _number_of_classes(path / DATA)
    sources = read_json(path / SOURCES, "the names of images") if (path / SOURCES).is_file() else {}
    if not isinstance(sources, dict):
        raise UserError(f"{path / SOURCES} does not map names to paths of images; correct or delete it")
    files = sorted((path / LABELS).rglob("*.txt"))
    if not files:
        raise UserError(f"{path / LABELS} contains no .txt file; YOLO's labels are {LABELS}/<image>.txt beside {DATA}")
    for file in files:
        name = file.relative_to(path / LABELS).with_suffix("").as_posix()
        index = images.find(str(sources.get(name, name)), str(file))
        for number, line in read_lines(file) if index is not None else ():
            assert index is not None
            yield from _annotation(line.split(), index, f"{file}, line {number}", images, count)


def _annotation(words: list[str], index: int, where: str, images: FolderImages, classes: int) -> Iterator[Annotation]:
    if not words[0].isdecimal() or not words[0].isascii() or int(words[0][:9]) >= classes:
        raise UserError(f"{where}: {words[0][:40]} is not the index of one of the {classes} classes; rows are {ROW}")
    numbers = read_numbers(words[1:], None, where, ROW)
    width, height = images.size(index)
    if len(numbers) == 4:
        x, y, across, down = (number * side for number, side in zip(numbers, (width, height) * 2, strict=True))
        yield Annotation(index, where, (x - across / 2, y - down / 2, x + across / 2, y + down / 2))
        return
    pixels = [number * (height if k % 2 else width) for k, number in enumerate(numbers)]
    if (polygon := images.checked_polygon(pixels, index, where)) is not None:
        yield Annotation(index, where, bounds_of([polygon]), partial(mask_of_polygons, [polygon], (width, height)))


def _number_of_classes(path: Path) -> int:
    try:
        # the loader that knows texts alone: merging keys could grow without bounds
        content: Any = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
        return len(content["names"])
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, RecursionError):
        raise UserError(f"{path} does not list the classes under names:; correct it") from None
