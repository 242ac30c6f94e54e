"""Read a folder of labelled photos: one sub-folder a class, or a table of files and classes; boxes where there are any.

<root>/<class>/<photo>                 or
<root>/{train,val,test}/<class>/<photo>  or
a table image,class[,split], images relative to root

`Deviation:` from the other readers: photos are turned upright as their EXIF orientation says, unless told otherwise. People
and labelling tools see phone photos so, and mark their boxes so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spg_lightning.data.index.cached_reader import cached_reader
from spg_lightning.data.readers.assemble import assemble
from spg_lightning.data.readers.folder_boxes import read_boxes
from spg_lightning.data.records import IMAGE_EXTENSIONS, Splits
from spg_lightning.data.text_files import is_inside, read_csv
from spg_lightning.data.validation.image_sizes import read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError, nearest

PARTS = ("train", "val", "test")
SPLITS = ("auto", "folders", "column", "fractions")


@dataclass(frozen=True)
class Listing:
    """Photos as found: path below the root -> class name, and -> part where that is said; `source` is for messages."""

    classes: dict[str, str]
    parts: dict[str, str]
    source: str


def _watched(root: str, labels: str | None, boxes: Sequence[str] | str | None, **_: object) -> list[Path]:
    """Return what an index of these photos depends on: the tables, and the folders whose entries count."""
    folder = Path(root).expanduser()
    named = [labels] if labels else []
    named += [boxes] if isinstance(boxes, str) else [*(boxes or ())]
    paths = [folder / name for name in named]
    paths += [file for path in paths if path.is_dir() for file in sorted(path.rglob("*.xml"))]
    below = [] if labels else _folders(folder)
    return [*paths, *below, *(p for part in below if part.name in PARTS for p in _folders(part))]


@cached_reader(_watched)
def read_folder(
    root: str,
    labels: str | None,
    split: str,
    fractions: Mapping[str, float],
    seed: int,
    boxes: Sequence[str] | str | None,
    apply_exif_orientation: bool,
    issues: IssueCollector | None = None,
) -> Splits:
    """Return the photos with labels, and boxes where there are any; images are named by their path below `root`.

    Args:
        root: folder of the photos.
        labels: table image,class[,split], relative to `root`; None for class folders.
        split: "folders" (sub-folders train, val, test), "column" (of the table), "fractions" (drawn by `seed`, stratified), or
            "auto" for the first of these that is there. Without a val part one is held out of the training images.
        fractions: part -> share, for "fractions".
        seed: of the fractions.
        boxes: a .csv table image,x0,y0,x1,y1, a COCO .json, a folder of Pascal VOC .xml files, or several; None for none.
        apply_exif_orientation: see `Records.apply_exif_orientation`.
        issues: collects the problems; None raises the first.

    Raises:
        UserError: a file or row is wrong; the message names it and the fix.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"dataset.root={root} is not a folder; give the one with the images, one sub-folder per class")
    if split not in SPLITS:
        raise UserError(f"dataset.reader.split={split}: choose from {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    issues = issues or IssueCollector.of(folder)
    annotations = {Path(name).parts[0] for name in ([boxes] if isinstance(boxes, str) else boxes or ())}
    found = _table(folder, labels) if labels else _class_folders(folder, split, annotations)
    images = list(found.classes)
    sizes, good = read_image_sizes(folder, images, found.source, issues, apply_exif_orientation)
    found_boxes = read_boxes(folder, boxes, images, sizes, good, issues) if boxes else {}
    if issues.collect:  # a photo whose box is wrong is as good as one that cannot be read
        wrong = set(issues.found.values())
        good &= np.array([issues.name(folder / image) not in wrong for image in images])
    names = sorted(set(found.classes.values()), key=_in_order)
    labels_of = [names.index(found.classes[image]) for image in images]
    parts = found.parts or _shares(found.classes, good, images, names, fractions, seed, split, root)
    _check(found, parts, images, good, names, root)
    whole = assemble(
        folder, images, labels_of, sizes, good, found_boxes, names, apply_exif_orientation=apply_exif_orientation
    )
    part_of = np.array([parts[image] for image in whole.images])
    by_part = {part: whole.take(np.flatnonzero(part_of == part)) for part in PARTS}
    return Splits(by_part["train"], by_part["val"] if len(by_part["val"]) else None, by_part["test"])


def _class_folders(root: Path, split: str, others: set[str]) -> Listing:
    """List <root>/<class>/<photo>, or the same below train, val and test; folders called as in `others` are no classes."""
    if split == "column":
        raise UserError("dataset.reader.split=column: a column needs a table; also give labels=<file.csv>")
    there = [part for part in PARTS if (root / part).is_dir()]
    classes, parts = dict[str, str](), dict[str, str]()
    in_parts = split == "folders" or (split == "auto" and {"train", "test"} <= {*there})
    if in_parts and (lacking := {"train", "test"} - {*there}):
        raise UserError(
            f"dataset.root={root}: the split {min(lacking)} is missing; it is a folder {root / min(lacking)}"
        )
    for part in there if in_parts else [""]:
        for folder in _folders(root / part):
            photos = _photos(folder)
            if not photos and folder.name in others:
                continue
            if not photos:
                raise UserError(f"{folder} is a class without images; add some, or delete the folder")
            for photo in photos:
                classes[name := f"{part}/{folder.name}/{photo}" if part else f"{folder.name}/{photo}"] = folder.name
                if part:
                    parts[name] = part
    if not classes:
        raise UserError(f"dataset.root={root} has no folders with images; give each class a folder of its images")
    return Listing(classes, parts, str(root))


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")) if root.is_dir() else []


def _photos(folder: Path) -> list[str]:
    names = sorted(
        p.name for p in folder.iterdir() if p.suffix.lower() in IMAGE_EXTENSIONS and not p.name.startswith(".")
    )
    for name in [folder.name, *names]:
        try:
            name.encode()
        except UnicodeEncodeError:  # Python's stand-in for bytes that are no text
            raise UserError(f"{str(folder / name)!a}: the name is not UTF-8 text; rename it") from None
    return names


def _table(root: Path, labels: str) -> Listing:
    path = root / labels
    if not path.is_file():
        raise UserError(f"dataset.reader.labels={labels}: {path} is missing; it holds rows image,class[,split]")
    classes, parts = dict[str, str](), dict[str, str]()
    for number, words in read_csv(path, ("image", "class"), ("split",)):
        where = f"{path}, line {number}"
        image, name = words[:2]
        if not is_inside(image):
            raise UserError(f"{where}: {image} lies outside {root}; refused")
        if image in classes:
            raise UserError(f"{where}: {image} is listed twice; keep one row per image")
        if not name:
            raise UserError(f"{where}: {image} has no class; rows are image,class[,split]")
        classes[image] = name
        if len(words) == 3:
            if words[2] not in PARTS:
                raise UserError(f"{where}: '{words[2]}' is not a split; choose from {', '.join(PARTS)}")
            parts[image] = words[2]
    return Listing(classes, parts, str(path))


def _shares(
    classes: dict[str, str],
    good: np.ndarray,
    images: list[str],
    names: list[str],
    fractions: Mapping[str, float],
    seed: int,
    split: str,
    root: str,
) -> dict[str, str]:
    """Deal the photos of each class to the parts; the same for the same seed and the same names, whatever their order."""
    if split in ("folders", "column"):
        raise UserError(f"dataset.reader.split={split}, but dataset.root={root} assigns no image to a split")
    wrong = set(fractions) - {*PARTS} or any(not 0 <= share <= 1 for share in fractions.values())
    if wrong or not np.isclose(sum(fractions.values()), 1) or not fractions.get("train") or not fractions.get("test"):
        raise UserError(
            f"dataset.reader.fractions={dict(fractions)}: give fractions of train, val and test that add up to 1"
        )
    rng = np.random.default_rng(seed)
    parts: dict[str, str] = {}
    for name in names:
        of_class = sorted(image for image, ok in zip(images, good, strict=True) if ok and classes[image] == name)
        shuffled = [of_class[i] for i in rng.permutation(len(of_class))]
        # every part that is asked for gets a photo of each class, as long as there are any
        wanted = [part for part in ("test", "val") if fractions.get(part)]
        for part in wanted:
            count = max(round(fractions[part] * len(of_class)), 1) if len(shuffled) > 1 else 0
            parts |= dict.fromkeys(shuffled[:count], part)
            shuffled = shuffled[count:]
        parts |= dict.fromkeys(shuffled, "train")
    return parts


def _check(
    found: Listing, parts: dict[str, str], images: list[str], good: np.ndarray, names: list[str], root: str
) -> None:
    kept = [image for image, ok in zip(images, good, strict=True) if ok]
    count = Counter(parts[image] for image in kept)
    for part in ("train", "test"):
        if not count[part]:
            raise UserError(f"{found.source}: no image is in the split {part}; both train and test are needed")
    taught = {found.classes[image] for image in kept if parts[image] == "train"}
    if unknown := sorted(set(names) - taught):
        image = next(image for image in images if found.classes[image] == unknown[0])
        raise UserError(
            f"{found.source}: the class {unknown[0]} ({image}) has no training image.{nearest(unknown[0], taught)} "
            "Add some, or remove the class"
        )
    if len(names) < 2:
        raise UserError(f"dataset.root={root} has the one class {names[0]}; a classifier needs at least two")


def _in_order(name: str) -> tuple[float, str]:
    return (float(name), "") if name.isdigit() else (float("inf"), name)
