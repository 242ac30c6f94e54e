"""Read a data set with lists in the format of the CVPR 2020 benchmark: CUB, ILSVRC, OpenImages30k, or your own.

<metadata>/{train,val,test}/{image_ids,class_labels,image_sizes,localization}.txt   see benchmark.py
<root>/<image id>                                                                    the images
<masks>/<file named in localization.txt>                                             if the ground truth is masks
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spg_lightning.data.index.cached_reader import cached_reader
from spg_lightning.data.readers.benchmark_metadata import LISTS, read_benchmark
from spg_lightning.data.records import Records, Splits
from spg_lightning.data.text_files import is_inside, read_lines
from spg_lightning.data.validation.image_sizes import Box, checked_box, read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError

SPLITS = ("train", "val", "test")


def _watched(root: str, metadata: str, class_names: str | None, **_: object) -> list[Path]:
    folder = Path(metadata).expanduser()
    names = [Path(class_names).expanduser()] if class_names else []
    return [*names, *(folder / split / name for split in SPLITS for name in LISTS)]


@cached_reader(_watched)
def read_benchmark_parts(
    root: str,
    metadata: str,
    masks: str | None,
    class_names: str | None,
    issues: IssueCollector | None = None,
) -> Splits:
    """Return the splits train, val and test. If val is missing, it is held out of train.

    Training images only need a class. With masks as ground truth there are no boxes, and only PxAP is measured.

    Args:
        root: of the images.
        metadata: folder of the folders train, val and test with the lists.
        masks: folder of the masks that the lists name; None for `root`.
        class_names: text file with one name per line, in the order of the classes; None for their numbers.
        issues: collects the problems; None raises the first.

    Raises:
        UserError: a file or row is wrong; the message names it and the fix.
    """
    lists = Path(metadata).expanduser()
    issues = issues or IssueCollector.of(Path(root).expanduser())
    for folder, key in ((Path(root).expanduser(), "root"), (lists, "reader.metadata")):
        if not folder.is_dir():
            raise UserError(f"dataset.{key}={folder} is not a folder; see conf/dataset for its content")
    for split in ("train", "test"):
        if not (lists / split).is_dir():
            raise UserError(
                f"dataset.reader.metadata={metadata}: the split {split} is missing; it is a folder {lists / split}"
            )
    splits = {
        split: read_split(lists / split, root, masks, issues, with_truth=split != "train")
        for split in SPLITS
        if (lists / split).is_dir()
    }
    names = _class_names(class_names, max(len(records.class_names) for records in splits.values()))
    for split, records in splits.items():
        if unknown := sorted(set(records.labels.tolist()) - set(splits["train"].labels.tolist())):
            raise UserError(f"{lists / split / 'class_labels.txt'}: class {unknown[0]} has no training image; add some")
    splits = {split: replace(records, class_names=names) for split, records in splits.items()}
    return Splits(splits["train"], splits.get("val"), splits["test"])


def read_split(
    metadata: str | Path,
    root: str | Path,
    masks: str | None,
    issues: IssueCollector,
    with_truth: bool,
    class_names: Sequence[str] | None = None,
) -> Records:
    """Return one split whose images exist: with the sizes of the files, and boxes inside them.

    Args:
        metadata: folder of its lists.
        root: of its images.
        masks: see `read_benchmark_parts`.
        issues: collects the problems.
        with_truth: the images need boxes or masks.
        class_names: of the data set; None for the classes' numbers.

    Raises:
        UserError: a file or row is wrong; the message names it and the fix.
    """
    folder, lists = Path(root).expanduser(), Path(metadata).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the one that the image ids of {lists} are relative to")
    mask_root = (masks or (folder if _names_masks(lists) else None)) if with_truth else None
    records = read_benchmark(lists, mask_root, with_truth)
    if class_names is not None:
        if len(records.class_names) > len(class_names):
            raise UserError(
                f"{lists / 'class_labels.txt'}: class {len(records.class_names) - 1}, but there are {len(class_names)} "
                "classes, counted from 0; correct it"
            )
        records = replace(records, class_names=tuple(class_names))
    sizes, keep = read_image_sizes(
        folder, records.images, str(lists / "image_ids.txt"), issues, apply_exif_orientation=False
    )
    boxes = [
        _checked_boxes(records, index, tuple(sizes[index].tolist()), folder, lists, issues) if keep[index] else None
        for index in range(len(records))
    ]
    needs_box = with_truth and len(records.boxes) > 0
    keep &= np.array([found is not None and (len(found) > 0 or not needs_box) for found in boxes], dtype=bool)
    measured = replace(
        _with_root(records, folder, lists),
        sizes=sizes,
        boxes=np.array([box for found in boxes for box in found or ()], dtype=np.float64).reshape(-1, 4),
        box_offsets=np.cumsum([0, *(len(found or ()) for found in boxes)]),
    )
    return measured.take(np.flatnonzero(keep))


def _checked_boxes(
    records: Records, index: int, size: tuple[int, int], folder: Path, lists: Path, issues: IssueCollector
) -> list[Box] | None:
    """Return the boxes of an image clipped to it, None if its listed size is wrong."""
    name, listed = records.images[index], tuple(records.sizes[index].tolist())
    if listed not in ((0, 0), size):
        issues.add(
            f"{lists / 'image_sizes.txt'}: {name} is listed with {listed[0]} x {listed[1]} pixels, "
            f"the image has {size[0]} x {size[1]}; correct the row, or restore the image",
            folder / name,
        )
        return None
    where = f"{lists / 'localization.txt'}: {name}"
    boxes = [tuple(box) for box in records.boxes_of(index).tolist()]
    checked = [checked_box(box, size, where, issues, folder / name, inclusive=True) for box in boxes]
    return [box for box in checked if box is not None]


def _with_root(records: Records, folder: Path, lists: Path) -> Records:
    """Return records whose root is the folder of the images. Records have one root, so masks elsewhere get full paths."""
    for names in (*records.masks, *([name] for name in records.ignored if name)):
        if not all(map(is_inside, names)):
            raise UserError(f"{lists / 'localization.txt'}: {names[0]} lies outside {records.root}; refused")
    if records.root == folder:
        return records
    base = records.root.absolute()
    return replace(
        records,
        root=folder,
        masks=[tuple(str(base / name) for name in names) for names in records.masks],
        ignored=[str(base / name) if name else "" for name in records.ignored],
    )


def _names_masks(lists: Path) -> bool:
    path = lists / "localization.txt"
    return path.is_file() and any(len(line.split(",")) in (2, 3) for _, line in read_lines(path)[:1])


def _class_names(path: str | None, count: int) -> tuple[str, ...]:
    if path is None:
        return tuple(str(k) for k in range(count))
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"dataset.reader.class_names={path} is missing; give a text file with one name per line")
    names = tuple(line.strip() for _, line in read_lines(file))
    if len(names) < count:
        raise UserError(f"dataset.reader.class_names={path} has {len(names)} names, the lists {count} classes")
    return names
