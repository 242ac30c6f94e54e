"""Boxes for a folder of images: a table, a COCO file, or a folder of Pascal VOC files."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Int

from spg_lightning.data.readers.voc import read_voc
from spg_lightning.data.records import drop_image_extension
from spg_lightning.data.text_files import read_csv
from spg_lightning.data.validation.image_sizes import Box, checked_box
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError

Listed = tuple[str, str, Box]  # image as written, file and row, box


def read_boxes(
    root: Path,
    files: Sequence[str] | str,
    images: Sequence[str],
    sizes: Int[np.ndarray, "N 2"],
    good: Bool[np.ndarray, " N"],
    issues: IssueCollector,
) -> dict[int, list[Box]]:
    """Return index of an image -> its boxes.

    Args:
        root: that `files` and `images` are relative to.
        files: .csv, .json, a folder of .xml, or several.
        images, sizes, good: of the images; boxes of images that are not good are passed over.
        issues: takes boxes and rows that are wrong.
    """
    find = _finder(images)
    boxes: dict[int, list[Box]] = {}
    for name in [files] if isinstance(files, str) else files:
        path = root / name
        if not path.exists():
            raise UserError(
                f"dataset.reader.boxes={name}: {path} is missing; give a .csv, a COCO .json or a folder of .xml"
            )
        kind = _voc if path.is_dir() else {".csv": _table, ".json": _coco}.get(path.suffix.lower())
        if kind is None:
            raise UserError(f"dataset.reader.boxes={name}: boxes come as .csv, COCO .json or a folder of .xml")
        for image, where, box in kind(path, issues):
            index = find(image, where)
            if not good[index]:
                continue
            size = (int(sizes[index][0]), int(sizes[index][1]))
            if (inside := checked_box(box, size, where, issues, root / images[index])) is not None:
                boxes.setdefault(index, []).append(inside)
    return boxes


def _finder(images: Sequence[str]) -> Callable[[str, str], int]:
    """Return what finds an image as others write it: by its path, by the end of its path, both also without an ending."""
    by_end: dict[str, set[int]] = {}
    exact = {image: i for i, image in enumerate(images)}
    for i, image in enumerate(images):
        parts = PurePosixPath(image).parts
        for k in range(len(parts)):
            tail = "/".join(parts[k:])
            for text in {tail, drop_image_extension(tail)}:
                by_end.setdefault(text, set()).add(i)

    def find(image: str, where: str) -> int:
        text = image.replace("\\", "/").removeprefix("./")
        if text in exact:
            return exact[text]
        found = by_end.get(text, set())
        if len(found) != 1:
            why = f"{len(found)} images end with that" if found else "there is no such image"
            raise UserError(f"{where}: {image}: {why}; give its path below dataset.root")
        return next(iter(found))

    return find


def _table(path: Path, issues: IssueCollector) -> Iterator[Listed]:
    for number, words in read_csv(path, ("image", "x0", "y0", "x1", "y1")):
        where = f"{path}, line {number}"
        try:
            x0, y0, x1, y1 = (float(word) for word in words[1:])
        except ValueError:
            raise UserError(f"{where}: cannot read '{','.join(words)[:80]}'; rows are image,x0,y0,x1,y1") from None
        yield words[0], where, (x0, y0, x1, y1)


def _coco(path: Path, issues: IssueCollector) -> Iterator[Listed]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
        names: dict[object, str] = {}
        for image in content["images"]:
            if image["id"] in names:
                raise UserError(f"{path}: two images have the id {image['id']}; ids have to differ")
            names[image["id"]] = str(image["file_name"])
        annotations = list(content["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} is not a COCO file ({type(error).__name__}: {str(error)[:60]}); it holds images and annotations"
        ) from None
    for number, annotation in enumerate(annotations, start=1):
        where = f"{path}, annotation {annotation.get('id', number) if isinstance(annotation, dict) else number}"
        try:
            x, y, width, height = (float(side) for side in annotation["bbox"])
            image_id = annotation["image_id"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{where}: no image_id, or no bbox x, y, width, height; correct it") from None
        if image_id not in names:
            raise UserError(f"{where}: image_id {image_id} is not the id of an image; correct it")
        yield names[image_id], where, (x, y, x + width, y + height)


def _voc(path: Path, issues: IssueCollector) -> Iterator[Listed]:
    files = sorted(path.rglob("*.xml"))
    if not files:
        raise UserError(f"{path} contains no .xml file; give a .csv, a COCO .json or a folder of .xml")
    for file in files:
        image = file.relative_to(path).with_suffix("").as_posix()
        for box in read_voc(file, issues, None)[1]:
            yield image, str(file), box
