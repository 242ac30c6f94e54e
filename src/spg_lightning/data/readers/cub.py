"""Read CUB-200-2011 from its official files (Wah et al., 2011).

images.txt               <image id> <path below images/>
image_class_labels.txt   <image id> <class id, from 1>
classes.txt              <class id> <name>
bounding_boxes.txt       <image id> <x> <y> <width> <height>, pixels
train_test_split.txt     <image id> <1 for train, 0 for test>
images/                  the images
segmentations/           optional, here or beside the folder: one PNG per image, bright foreground

CUBV2 (Choe et al., 2020), other images of the same classes, can be the val split: a folder of images, and a folder of lists in
the benchmark's format (see benchmark.py).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

from spg_lightning.data.index.cached_reader import cached_reader
from spg_lightning.data.readers.assemble import assemble
from spg_lightning.data.readers.benchmark import read_split
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
    """Return the official split, with CUBV2 as val if given.

    Args:
        root: folder with the lists.
        val_metadata, val_root: lists and images of CUBV2, or both None.
        issues: collects the problems; None raises the first.

    Raises:
        UserError: see `read_cub`.
    """
    if (val_metadata is None) != (val_root is None):
        raise UserError(
            "dataset.reader.val_metadata and val_root belong together: give the lists and the images of CUBV2"
        )
    issues = issues or IssueCollector.of(Path(root).expanduser())
    splits = read_cub(root, issues=issues)
    if val_metadata is None or val_root is None:
        return splits
    names = splits.train.class_names
    return replace(splits, val=read_split(val_metadata, val_root, None, issues, with_truth=True, class_names=names))


@cached_reader(_watched)
def read_cub(root: str, issues: IssueCollector | None = None) -> Splits:
    """Return the official split, which has no val.

    Args:
        root: folder with the lists.
        issues: collects the problems; None raises the first.

    Raises:
        UserError: a file or image is missing, or a row is wrong; the message names it and the fix.
    """
    folder = Path(root).expanduser()
    issues = issues or IssueCollector.of(folder)
    for name in (*LISTS, "images"):
        if not (folder / name).exists():
            raise UserError(
                f"dataset.root={root}: {folder / name} is missing; put the extracted CUB_200_2011 folder there (with "
                f"{', '.join(LISTS)} and images/), or point dataset.root at it"
            )
    lists = _read_lists(folder, issues)
    _remove_incomplete(folder, lists, issues)
    _remove_duplicates(folder, lists, issues)
    records, ids = _records(folder, lists, issues)
    train = np.array([lists.is_train[i] for i in ids], dtype=bool)
    _check_splits(folder, lists, records, train)
    return Splits(train=records.take(np.flatnonzero(train)), val=None, test=records.take(np.flatnonzero(~train)))


@dataclass
class _Lists:
    """The rows of the list files: id -> value."""

    images: dict[int, str]
    class_names: dict[int, str]
    labels: dict[int, int]
    boxes: dict[int, tuple[float, ...]]
    is_train: dict[int, bool]

    @property
    def class_ids(self) -> list[int]:
        return sorted(self.class_names)


def _read_lists(folder: Path, issues: IssueCollector) -> _Lists:
    def join(words: list[str]) -> str:
        return " ".join(words)

    return _Lists(
        images=_read(folder / "images.txt", join, issues, at_least=1),
        class_names=_read(folder / "classes.txt", join, issues, at_least=1),
        labels=_read(folder / "image_class_labels.txt", lambda words: int(words[0]), issues, exactly=1),
        boxes=_read(folder / "bounding_boxes.txt", lambda words: tuple(map(float, words)), issues, exactly=4),
        is_train=_read(
            folder / "train_test_split.txt", lambda words: {"0": False, "1": True}[words[0]], issues, exactly=1
        ),
    )


def _remove_incomplete(folder: Path, lists: _Lists, issues: IssueCollector) -> None:
    """Report and remove images without a row in another list, or of a class that is not listed."""
    tables = (
        ("image_class_labels.txt", lists.labels), ("bounding_boxes.txt", lists.boxes), ("train_test_split.txt", lists.is_train),
    )  # fmt: skip
    for name, table in tables:
        if lacking := [i for i in lists.images if i not in table]:
            issues.add(
                f"{folder / name}: no row for image {lacking[0]} ({lists.images[lacking[0]]})"
                f"{and_n_more(lacking)}; add it, or remove the image from images.txt"
            )
            lists.images = {i: path for i, path in lists.images.items() if i in table}
    if unknown := [i for i in lists.images if lists.labels[i] not in lists.class_names]:
        issues.add(
            f"{folder / 'image_class_labels.txt'}: image {unknown[0]} has class {lists.labels[unknown[0]]}, which classes.txt "
            f"does not list (its classes: {lists.class_ids[0]} to {lists.class_ids[-1]}){and_n_more(unknown)}"
        )
        lists.images = {i: path for i, path in lists.images.items() if i not in {*unknown}}


def _remove_duplicates(folder: Path, lists: _Lists, issues: IssueCollector) -> None:
    """Refuse paths outside the folder; report and remove an image that is listed twice."""
    first: dict[str, int] = {}
    for i, path in list(lists.images.items()):
        if not is_inside(path):
            raise UserError(f"{folder / 'images.txt'}: image {i} ({path}) lies outside {folder / 'images'}; refused")
        if first.setdefault(path, i) != i:
            issues.add(f"{folder / 'images.txt'}: images {first[path]} and {i} are both {path}; keep one")
            del lists.images[i]


def _check_splits(folder: Path, lists: _Lists, records: Records, train: Bool[np.ndarray, " N"]) -> None:
    for name, split in (("train (1)", train), ("test (0)", ~train)):
        if not split.any():
            raise UserError(f"{folder / 'train_test_split.txt'}: no image is marked as {name}")
    if empty := sorted(set(range(len(lists.class_ids))) - set(records.labels[train].tolist())):
        class_id = lists.class_ids[empty[0]]
        raise UserError(
            f"{folder / 'classes.txt'}: class {class_id} ({lists.class_names[class_id]}) has no training image"
            f"{and_n_more(empty)}; add some, or remove the class from the lists"
        )


def _records(folder: Path, lists: _Lists, issues: IssueCollector) -> tuple[Records, list[int]]:
    """Return the records and their image ids."""
    index_of_class = {class_id: index for index, class_id in enumerate(lists.class_ids)}
    ids, paths = list(lists.images), list(lists.images.values())
    sizes, keep = read_image_sizes(
        folder / "images", paths, str(folder / "images.txt"), issues, apply_exif_orientation=False
    )
    boxes: dict[int, list[Box]] = {}
    for index in np.flatnonzero(keep).tolist():
        size = (int(sizes[index][0]), int(sizes[index][1]))
        box = _corners(folder, ids[index], paths[index], lists.boxes[ids[index]], size, issues)
        if box is None:
            keep[index] = False
        else:
            boxes[index] = [box]
    labels = [index_of_class[lists.labels[i]] for i in ids]
    names = [lists.class_names[class_id] for class_id in lists.class_ids]
    records = assemble(folder / "images", paths, labels, sizes, keep, boxes, names, _masks(folder, paths))
    return records, [i for i, kept in zip(ids, keep, strict=True) if kept]


def _read(
    file: Path, parse: Callable[[list[str]], T], issues: IssueCollector, exactly: int | None = None, at_least: int = 0
) -> dict[int, T]:
    """Return id -> value of a list file. Accepts Windows line ends, a byte order mark and empty lines."""
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
            issues.add(f"{file}, line {number}: id {identity} is listed twice; keep one row per id")
        else:
            table[identity] = value
    if not table:
        raise UserError(f"{file} is empty")
    return table


def _corners(
    folder: Path, image: int, name: str, box: tuple[float, ...], size: tuple[int, int], issues: IssueCollector
) -> Box | None:
    x, y, width, height = box
    path = folder / "images" / name
    where = f"{folder / 'bounding_boxes.txt'}: image {image} ({name})"
    if not all(np.isfinite(box)) or width <= 0 or height <= 0:
        given = f"has the box x={x:g} y={y:g} width={width:g} height={height:g}"
        issues.add(f"{where} {given}; width and height must be positive numbers", path)
        return None
    return checked_box((x, y, x + width, y + height), size, where, issues, path)


def _masks(folder: Path, images: list[str]) -> tuple[tuple[str, ...], ...]:
    """Return the segmentations if all exist, below the folder or beside it, where their archive extracts them."""
    for prefix in ("segmentations", "../segmentations"):
        paths = [f"{prefix}/{Path(name).with_suffix('.png')}" for name in images]
        exists = [(folder / path).is_file() for path in paths]
        if all(exists):
            return tuple((f"../{path}",) for path in paths)  # relative to images/
        if any(exists):
            lacking = [path for path, found in zip(paths, exists, strict=True) if not found]
            log.warning("%s is missing%s: segmentations are not used", folder / lacking[0], and_n_more(lacking))
    return ()
