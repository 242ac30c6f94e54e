"""Read CUB-200-2011 from its official files (Wah et al., 2011).

images.txt               <image id> <path below images/>
image_class_labels.txt   <image id> <class id, from 1>
classes.txt              <class id> <name>
bounding_boxes.txt       <image id> <x> <y> <width> <height>, pixels
train_test_split.txt     <image id> <1 for train, 0 for test>
images/                  the photos
segmentations/           optional, here or beside the folder: one PNG a photo, foreground bright
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from spg_lightning.data.records import Records, Splits
from spg_lightning.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
LISTS = ("images.txt", "image_class_labels.txt", "classes.txt", "bounding_boxes.txt", "train_test_split.txt")
TOLERANCE = 1.0  # pixels a box may stick out (rounding in scaled copies of the data set); it is clipped to the photo


def read_cub(root: str) -> Splits:
    """Return the official split; the data set brings no validation part.

    Raises:
        UserError: a file or photo is missing, or a row is wrong; the text names the file and row and says what to do.
    """
    folder = Path(root).expanduser()
    for name in (*LISTS, "images"):
        if not (folder / name).exists():
            raise UserError(
                f"dataset.root={root}: {folder / name} is missing; put the extracted CUB_200_2011 folder there (with "
                f"{', '.join(LISTS)} and images/), or point dataset.root at it"
            )
    images = _read(folder / "images.txt", lambda words: " ".join(words), at_least=1)
    class_names = _read(folder / "classes.txt", lambda words: " ".join(words), at_least=1)
    labels = _read(folder / "image_class_labels.txt", lambda words: int(words[0]), exactly=1)
    boxes = _read(folder / "bounding_boxes.txt", lambda words: tuple(map(float, words)), exactly=4)
    is_train = _read(folder / "train_test_split.txt", lambda words: {"0": False, "1": True}[words[0]], exactly=1)
    for name, table in (
        ("image_class_labels.txt", labels),
        ("bounding_boxes.txt", boxes),
        ("train_test_split.txt", is_train),
    ):
        if lacking := [i for i in images if i not in table]:
            raise UserError(
                f"{folder / name}: no row for image {lacking[0]} ({images[lacking[0]]})"
                f"{_more(lacking)}; add it, or take the image out of images.txt"
            )
    class_ids = sorted(class_names)
    if unknown := [i for i in images if labels[i] not in class_names]:
        raise UserError(
            f"{folder / 'image_class_labels.txt'}: image {unknown[0]} has class {labels[unknown[0]]}, which classes.txt "
            f"does not list (its classes: {class_ids[0]} to {class_ids[-1]}){_more(unknown)}"
        )
    records = _records(folder, images, class_names, labels, boxes)
    train = np.array([is_train[i] for i in images], dtype=bool)
    for name, part in (("train (1)", train), ("test (0)", ~train)):
        if not part.any():
            raise UserError(f"{folder / 'train_test_split.txt'}: no image is marked as {name}")
    return Splits(train=records.take(np.flatnonzero(train)), val=None, test=records.take(np.flatnonzero(~train)))


def _records(
    folder: Path,
    images: dict[int, str],
    class_names: dict[int, str],
    labels: dict[int, int],
    boxes: dict[int, tuple[float, ...]],
) -> Records:
    index_of_class = {class_id: index for index, class_id in enumerate(sorted(class_names))}
    sizes = _sizes(folder, images)
    corners = [_corners(folder, i, images[i], boxes[i], sizes[i]) for i in images]
    masks = _masks(folder, list(images.values()))
    return Records(
        root=folder / "images",
        images=tuple(images.values()),
        labels=np.array([index_of_class[labels[i]] for i in images], dtype=np.int64),
        sizes=np.array([sizes[i] for i in images], dtype=np.int64),
        boxes=np.array(corners, dtype=np.float64),
        box_offsets=np.arange(len(images) + 1, dtype=np.int64),
        class_names=tuple(class_names[class_id] for class_id in sorted(class_names)),
        masks=masks,
    )


def _read(file: Path, parse: Callable[[list[str]], T], exactly: int | None = None, at_least: int = 0) -> dict[int, T]:
    """Return id -> value of a list file; Windows line ends, a byte order mark and empty lines are accepted."""
    table: dict[int, T] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        values = words[1:]
        try:
            if len(values) < at_least or (exactly is not None and len(values) != exactly):
                raise ValueError
            identity, value = int(words[0]), parse(values)
        except (ValueError, KeyError, IndexError):
            raise UserError(
                f"{file}, line {number}: cannot read '{line.strip()[:80]}'; see the layout of CUB-200-2011"
            ) from None
        if identity in table:
            raise UserError(f"{file}, line {number}: id {identity} stands there twice; keep one row an id")
        table[identity] = value
    if not table:
        raise UserError(f"{file} is empty")
    return table


def _sizes(folder: Path, images: dict[int, str]) -> dict[int, tuple[int, int]]:
    """Return the photos' sizes from their headers, so that a missing photo is told before training, not during it."""
    inside = (folder / "images").resolve()
    sizes: dict[int, tuple[int, int]] = {}
    problems: list[str] = []
    for i, name in images.items():
        path = folder / "images" / name
        if not path.resolve().is_relative_to(inside):
            raise UserError(f"{folder / 'images.txt'}: image {i} ({name}) lies outside {folder / 'images'}; refused")
        try:
            with Image.open(path) as photo:
                sizes[i] = photo.size
        except FileNotFoundError:
            problems.append(f"{path} is missing")
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
            problems.append(f"{path} is no readable photo")
    if problems:
        raise UserError(f"{problems[0]}{_more(problems)}; restore it, or take its line out of {folder / 'images.txt'}")
    return sizes


def _corners(
    folder: Path, image: int, name: str, box: tuple[float, ...], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    x, y, width, height = box
    where = f"{folder / 'bounding_boxes.txt'}: image {image} ({name}) has the box x={x:g} y={y:g} width={width:g} height={height:g}"
    if not all(np.isfinite(box)) or width <= 0 or height <= 0:
        raise UserError(f"{where}; width and height must be positive numbers")
    if x < -TOLERANCE or y < -TOLERANCE or x + width > size[0] + TOLERANCE or y + height > size[1] + TOLERANCE:
        raise UserError(f"{where}, which sticks out of its photo of {size[0]} x {size[1]} pixels; correct the row")
    return max(x, 0.0), max(y, 0.0), min(x + width, size[0]), min(y + height, size[1])


def _masks(folder: Path, images: list[str]) -> tuple[tuple[str, ...], ...]:
    """Return the segmentations where all of them exist, below the folder or beside it as their archive extracts."""
    for prefix in ("segmentations", "../segmentations"):
        paths = [f"{prefix}/{Path(name).with_suffix('.png')}" for name in images]
        there = [(folder / path).is_file() for path in paths]
        if all(there):
            return tuple((f"../{path}",) for path in paths)  # as seen from images/
        if any(there):
            lacking = [path for path, exists in zip(paths, there, strict=True) if not exists]
            log.warning("%s is missing%s: segmentations are not used", folder / lacking[0], _more(lacking))
    return ()


def _more(things: list) -> str:
    return f" (and {len(things) - 1} more)" if len(things) > 1 else ""
