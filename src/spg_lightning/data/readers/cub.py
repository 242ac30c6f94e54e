"""Read CUB-200-2011 from its official files (Wah et al., 2011).

images.txt               <image id> <path below images/>
image_class_labels.txt   <image id> <class id, from 1>
classes.txt              <class id> <name>
bounding_boxes.txt       <image id> <x> <y> <width> <height>, pixels
train_test_split.txt     <image id> <1 for train, 0 for test>
images/                  the photos
segmentations/           optional, here or beside the folder: one PNG a photo, foreground bright

CUBV2 (Choe et al., 2020), other photos of the same classes, can be the validation part: a folder of photos and one of lists
in the benchmark's format (see benchmark.py).
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from spg_lightning.data.index.cached_reader import cached_reader
from spg_lightning.data.readers.assemble import assemble
from spg_lightning.data.readers.benchmark import read_part
from spg_lightning.data.readers.benchmark_metadata import LISTS as METADATA
from spg_lightning.data.records import Records, Splits
from spg_lightning.data.text_files import and_n_more, is_inside, read_lines
from spg_lightning.data.validation.image_sizes import Box, checked_box, read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
LISTS = ("images.txt", "image_class_labels.txt", "classes.txt", "bounding_boxes.txt", "train_test_split.txt")


def _watched(root: str, val_metadata: str | None = None, **_: object) -> list[Path]:
    folder = Path(root).expanduser()
    lists = [folder / name for name in LISTS]
    return lists if val_metadata is None else [*lists, *(Path(val_metadata).expanduser() / name for name in METADATA)]


@cached_reader(_watched)
def read_cub_and_val(
    root: str, val_metadata: str | None, val_root: str | None, issues: IssueCollector | None = None
) -> Splits:
    """Return the official split, with CUBV2 as the validation part where it is given.

    Args:
        root: folder with the lists.
        val_metadata, val_root: lists and photos of CUBV2, or both None.
        issues: takes what is wrong; None raises.

    Raises:
        UserError: see `read_cub`.
    """
    if (val_metadata is None) != (val_root is None):
        raise UserError("dataset.reader.val_metadata and val_root belong together: the lists of CUBV2 and its photos")
    issues = issues or IssueCollector.of(Path(root).expanduser())
    splits = read_cub(root, issues=issues)
    if val_metadata is None or val_root is None:
        return splits
    names = splits.train.class_names
    return replace(splits, val=read_part(val_metadata, val_root, None, issues, with_truth=True, class_names=names))


@cached_reader(_watched)
def read_cub(root: str, issues: IssueCollector | None = None) -> Splits:
    """Return the official split; the data set brings no validation part.

    Args:
        root: folder with the lists.
        issues: takes what is wrong; None raises.

    Raises:
        UserError: a file or photo is missing, or a row is wrong; the text names the file and row and says what to do.
    """
    folder = Path(root).expanduser()
    issues = issues or IssueCollector.of(folder)
    for name in (*LISTS, "images"):
        if not (folder / name).exists():
            raise UserError(
                f"dataset.root={root}: {folder / name} is missing; put the extracted CUB_200_2011 folder there (with "
                f"{', '.join(LISTS)} and images/), or point dataset.root at it"
            )
    images = _read(folder / "images.txt", lambda words: " ".join(words), issues, at_least=1)
    class_names = _read(folder / "classes.txt", lambda words: " ".join(words), issues, at_least=1)
    labels = _read(folder / "image_class_labels.txt", lambda words: int(words[0]), issues, exactly=1)
    boxes = _read(folder / "bounding_boxes.txt", lambda words: tuple(map(float, words)), issues, exactly=4)
    is_train = _read(
        folder / "train_test_split.txt", lambda words: {"0": False, "1": True}[words[0]], issues, exactly=1
    )
    for name, table in (
        ("image_class_labels.txt", labels),
        ("bounding_boxes.txt", boxes),
        ("train_test_split.txt", is_train),
    ):
        if lacking := [i for i in images if i not in table]:
            issues.add(
                f"{folder / name}: no row for image {lacking[0]} ({images[lacking[0]]})"
                f"{and_n_more(lacking)}; add it, or take the image out of images.txt"
            )
            images = {i: path for i, path in images.items() if i in table}
    class_ids = sorted(class_names)
    if unknown := [i for i in images if labels[i] not in class_names]:
        issues.add(
            f"{folder / 'image_class_labels.txt'}: image {unknown[0]} has class {labels[unknown[0]]}, which classes.txt "
            f"does not list (its classes: {class_ids[0]} to {class_ids[-1]}){and_n_more(unknown)}"
        )
        images = {i: path for i, path in images.items() if i not in {*unknown}}
    for i, path in images.items():
        if not is_inside(path):
            raise UserError(f"{folder / 'images.txt'}: image {i} ({path}) lies outside {folder / 'images'}; refused")
    first: dict[str, int] = {}
    for i, path in list(images.items()):
        if first.setdefault(path, i) != i:
            issues.add(f"{folder / 'images.txt'}: images {first[path]} and {i} are both {path}; keep one")
            del images[i]
    records, kept = _records(folder, images, class_names, labels, boxes, issues)
    train = np.array([is_train[i] for i in kept], dtype=bool)
    for name, part in (("train (1)", train), ("test (0)", ~train)):
        if not part.any():
            raise UserError(f"{folder / 'train_test_split.txt'}: no image is marked as {name}")
    classes = sorted(class_names)
    if empty := sorted(set(range(len(classes))) - set(records.labels[train].tolist())):
        raise UserError(
            f"{folder / 'classes.txt'}: class {classes[empty[0]]} ({class_names[classes[empty[0]]]}) has no training "
            f"photo{and_n_more(empty)}; add some, or take the class out of the lists"
        )
    return Splits(train=records.take(np.flatnonzero(train)), val=None, test=records.take(np.flatnonzero(~train)))


def _records(
    folder: Path,
    images: dict[int, str],
    class_names: dict[int, str],
    labels: dict[int, int],
    boxes: dict[int, tuple[float, ...]],
    issues: IssueCollector,
) -> tuple[Records, list[int]]:
    """Return the records and which image ids they are."""
    index_of_class = {class_id: index for index, class_id in enumerate(sorted(class_names))}
    ids, paths = list(images), list(images.values())
    sizes, good = read_image_sizes(
        folder / "images", paths, str(folder / "images.txt"), issues, apply_exif_orientation=False
    )
    inside: dict[int, list[Box]] = {}
    for index in np.flatnonzero(good).tolist():
        box = _corners(folder, ids[index], paths[index], boxes[ids[index]], tuple(sizes[index].tolist()), issues)
        if box is None:
            good[index] = False
        else:
            inside[index] = [box]
    records = assemble(
        folder / "images",
        paths,
        [index_of_class[labels[i]] for i in ids],
        sizes,
        good,
        inside,
        [class_names[class_id] for class_id in sorted(class_names)],
        _masks(folder, paths),
    )
    return records, [i for i, ok in zip(ids, good, strict=True) if ok]


def _read(
    file: Path, parse: Callable[[list[str]], T], issues: IssueCollector, exactly: int | None = None, at_least: int = 0
) -> dict[int, T]:
    """Return id -> value of a list file; Windows line ends, a byte order mark and empty lines are accepted."""
    table: dict[int, T] = {}
    for number, line in read_lines(file):
        words = line.split()
        values = words[1:]
        try:
            if len(values) < at_least or (exactly is not None and len(values) != exactly):
                raise ValueError
            identity, value = int(words[0]), parse(values)
        except (ValueError, KeyError, IndexError):
            issues.add(f"{file}, line {number}: cannot read '{line.strip()[:80]}'; see the layout of CUB-200-2011")
            continue
        if identity in table:
            issues.add(f"{file}, line {number}: id {identity} stands there twice; keep one row an id")
        else:
            table[identity] = value
    if not table:
        raise UserError(f"{file} is empty")
    return table


def _corners(
    folder: Path, image: int, name: str, box: tuple[float, ...], size: tuple[int, int], issues: IssueCollector
) -> Box | None:
    x, y, width, height = box
    photo = folder / "images" / name
    where = f"{folder / 'bounding_boxes.txt'}: image {image} ({name})"
    if not all(np.isfinite(box)) or width <= 0 or height <= 0:
        given = f"has the box x={x:g} y={y:g} width={width:g} height={height:g}"
        issues.add(f"{where} {given}; width and height must be positive numbers", photo)
        return None
    return checked_box((x, y, x + width, y + height), size, where, issues, photo)


def _masks(folder: Path, images: list[str]) -> tuple[tuple[str, ...], ...]:
    """Return the segmentations where all of them exist, below the folder or beside it as their archive extracts."""
    for prefix in ("segmentations", "../segmentations"):
        paths = [f"{prefix}/{Path(name).with_suffix('.png')}" for name in images]
        there = [(folder / path).is_file() for path in paths]
        if all(there):
            return tuple((f"../{path}",) for path in paths)  # as seen from images/
        if any(there):
            lacking = [path for path, exists in zip(paths, there, strict=True) if not exists]
            log.warning("%s is missing%s: segmentations are not used", folder / lacking[0], and_n_more(lacking))
    return ()
