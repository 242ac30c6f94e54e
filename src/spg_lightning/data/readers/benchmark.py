"""Read a whole data set whose lists are in the CVPR 2020 benchmark's format: CUB, ILSVRC, OpenImages30k, or one's own.

<metadata>/{train,val,test}/{image_ids,class_labels,image_sizes,localization}.txt   see benchmark.py
<root>/<image id>                                                                    the photos
<masks>/<file named in localization.txt>                                             where the ground truth is masks
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spg_lightning.data.index.cached_reader import cached_reader
from spg_lightning.data.readers.benchmark_metadata import LISTS, read_benchmark
from spg_lightning.data.records import Records, Splits
from spg_lightning.data.text_files import is_inside, read_lines
from spg_lightning.data.validation.image_sizes import checked_box, read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError

PARTS = ("train", "val", "test")


def _watched(root: str, metadata: str, class_names: str | None, **_: object) -> list[Path]:
    folder = Path(metadata).expanduser()
    names = [Path(class_names).expanduser()] if class_names else []
    return [*names, *(folder / part / name for part in PARTS for name in LISTS)]


@cached_reader(_watched)
def read_benchmark_parts(
    root: str,
    metadata: str,
    masks: str | None,
    class_names: str | None,
    issues: IssueCollector | None = None,
) -> Splits:
    """Return the parts train, val and test; val may be missing and is then held out of train.

    Training photos need no ground truth but their class. Where it is masks, there are no boxes, and PxAP alone is measured.

    Args:
        root: of the photos.
        metadata: folder of the folders train, val and test with the lists.
        masks: folder of the masks that the lists name; None: `root`, where they name any.
        class_names: text with one name a line, in the order of the classes; None: their numbers.
        issues: takes what is wrong; None raises.

    Raises:
        UserError: names the file and row, and says what to do.
    """
    lists = Path(metadata).expanduser()
    issues = issues or IssueCollector.of(Path(root).expanduser())
    for folder, key in ((Path(root).expanduser(), "root"), (lists, "reader.metadata")):
        if not folder.is_dir():
            raise UserError(f"dataset.{key}={folder} is no folder; see conf/dataset for what belongs there")
    for part in ("train", "test"):
        if not (lists / part).is_dir():
            raise UserError(
                f"dataset.reader.metadata={metadata}: the part {part} is missing; it is a folder {lists / part}"
            )
    parts = {
        part: read_part(lists / part, root, masks, issues, with_truth=part != "train")
        for part in PARTS
        if (lists / part).is_dir()
    }
    count = max(len(records.class_names) for records in parts.values())
    names = _names(class_names, count)
    for part, records in parts.items():
        if unknown := sorted(set(records.labels.tolist()) - set(parts["train"].labels.tolist())):
            raise UserError(f"{lists / part / 'class_labels.txt'}: class {unknown[0]} has no training photo; add some")
    parts = {part: replace(records, class_names=names) for part, records in parts.items()}
    return Splits(parts["train"], parts.get("val"), parts["test"])


def read_part(
    metadata: str | Path,
    root: str | Path,
    masks: str | None,
    issues: IssueCollector,
    with_truth: bool,
    class_names: Sequence[str] | None = None,
) -> Records:
    """Return one part with photos: their sizes are those of the files, their boxes lie inside.

    Args:
        metadata: folder of its lists.
        root: of its photos.
        masks: see `read_benchmark_parts`.
        issues: takes what is wrong.
        with_truth: the images need boxes or masks.
        class_names: of the data set that it is a part of; None: the classes' numbers.
    """
    folder = Path(root).expanduser()
    lists = Path(metadata).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the one that the image ids of {lists} are relative to")
    mask_root = (masks or (folder if _names_masks(lists) else None)) if with_truth else None
    records = read_benchmark(lists, mask_root, with_truth)
    if class_names is not None:
        if len(records.class_names) > len(class_names):
            raise UserError(
                f"{lists / 'class_labels.txt'}: class {len(records.class_names) - 1}, but there are {len(class_names)} "
                "classes, counted from 0; correct it"
            )
        records = replace(records, class_names=tuple(class_names))
    sizes, good = read_image_sizes(
        folder, records.images, str(lists / "image_ids.txt"), issues, apply_exif_orientation=False
    )
    boxes, counts = [], np.zeros(len(records), dtype=np.int64)
    for index in np.flatnonzero(good).tolist():
        photo, where = folder / records.images[index], f"{lists / 'localization.txt'}: {records.images[index]}"
        size = (int(sizes[index][0]), int(sizes[index][1]))
        stated = (int(records.sizes[index][0]), int(records.sizes[index][1]))
        if stated not in ((0, 0), size):
            issues.add(
                f"{lists / 'image_sizes.txt'}: {records.images[index]} is said to be {stated[0]} x {stated[1]} pixels, "
                f"the photo has {size[0]} x {size[1]}; correct the row, or restore the photo",
                photo,
            )
            good[index] = False
            continue
        for box in records.boxes_of(index).tolist():
            if (inside := checked_box(tuple(box), size, where, issues, photo, inclusive=True)) is not None:
                boxes.append(inside)
                counts[index] += 1
        good[index] = good[index] and (not len(records.boxes) or not with_truth or counts[index] > 0)
    for names in (records.masks, [(name,) for name in records.ignored if name]):
        for group in names:
            if not all(map(is_inside, group)):
                raise UserError(f"{lists / 'localization.txt'}: {group[0]} lies outside {records.root}; refused")
    relative = records.root != folder  # records have one root: masks from elsewhere are named in full
    measured = replace(
        records,
        root=folder,
        sizes=sizes,
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        box_offsets=np.concatenate([[0], np.cumsum(counts)]),
        masks=[tuple(str(records.root.absolute() / n) for n in g) for g in records.masks]
        if relative
        else records.masks,
        ignored=[str(records.root.absolute() / n) if n else "" for n in records.ignored]
        if relative
        else records.ignored,
    )
    return measured.take(np.flatnonzero(good))


def _names_masks(lists: Path) -> bool:
    path = lists / "localization.txt"
    return path.is_file() and any(len(line.split(",")) in (2, 3) for _, line in read_lines(path)[:1])


def _names(path: str | None, count: int) -> tuple[str, ...]:
    if path is None:
        return tuple(str(k) for k in range(count))
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"dataset.reader.class_names={path} is missing; give a text with one name a line")
    names = tuple(line.strip() for _, line in read_lines(file))
    if len(names) < count:
        raise UserError(f"dataset.reader.class_names={path} has {len(names)} names, the lists {count} classes")
    return names
