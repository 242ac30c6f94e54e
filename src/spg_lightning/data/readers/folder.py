"""Read a folder of labelled images: one folder per class, or a table of files and classes; optionally with boxes.

<root>/<class>/<image>                   or
<root>/{train,val,test}/<class>/<image>  or
a table image,class[,split], images relative to root

`Deviation:` from the other readers, images are rotated by their EXIF orientation by default: people and labelling tools see phone
images upright, and mark boxes on them.
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

SPLITS = ("train", "val", "test")
WAYS = ("auto", "folders", "column", "fractions")  # to split


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    Attributes:
        classes: path below the root -> class name.
        splits: path -> split, empty if no split is given.
        source: of the listing, for messages.
    """

    classes: dict[str, str]
    splits: dict[str, str]
    source: str


def _watched(root: str, labels: str | None, boxes: Sequence[str] | str | None, **_: object) -> list[Path]:
    """Return the files and folders that an index of these images depends on."""
    folder = Path(root).expanduser()
    named = [labels] if labels else []
    named += [boxes] if isinstance(boxes, str) else [*(boxes or ())]
    paths = [folder / name for name in named]
    paths += [file for path in paths if path.is_dir() for file in sorted(path.rglob("*.xml"))]
    below = [] if labels else _folders(folder)
    return [*paths, *below, *(p for split in below if split.name in SPLITS for p in _folders(split))]


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
    """Return labelled images with their boxes, if any. The path below `root` is an image's name.

    Args:
        root: folder of the images.
        labels: table image,class[,split], relative to `root`; None for class folders.
        split: "folders" (sub-folders train, val, test), "column" (of the table), "fractions" (drawn by `seed`, stratified), or
            "auto" for the first of these that applies. Without val, it is held out of the training images.
        fractions: split -> fraction, for "fractions".
        seed: of the fractions.
        boxes: a .csv table image,x0,y0,x1,y1, a COCO .json, a folder of Pascal VOC .xml files, or several; None without boxes.
        apply_exif_orientation: see `Records.apply_exif_orientation`.
        issues: collects the problems; None raises the first.

    Raises:
        UserError: a file or row is wrong; the message names it and the fix.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"dataset.root={root} is not a folder; give the one with the images, one sub-folder per class")
    if split not in WAYS:
        raise UserError(f"dataset.reader.split={split}: choose from {', '.join(WAYS)}.{nearest(split, WAYS)}")
    issues = issues or IssueCollector.of(folder)
    annotations = {Path(name).parts[0] for name in ([boxes] if isinstance(boxes, str) else boxes or ())}
    listing = _table(folder, labels) if labels else _class_folders(folder, split, annotations)
    images = list(listing.classes)
    sizes, keep = read_image_sizes(folder, images, listing.source, issues, apply_exif_orientation)
    found_boxes = read_boxes(folder, boxes, images, sizes, keep, issues) if boxes else {}
    if issues.collect:  # an image with a wrong box is left out like an unreadable one
        wrong = set(issues.found.values())
        keep &= np.array([issues.name(folder / image) not in wrong for image in images])
    names = sorted(set(listing.classes.values()), key=_natural_order)
    kept = [image for image, ok in zip(images, keep, strict=True) if ok]
    splits = listing.splits
    if not splits:
        if split in ("folders", "column"):
            raise UserError(f"dataset.reader.split={split}, but dataset.root={root} assigns no image to a split")
        splits = _draw_splits(listing.classes, kept, names, fractions, seed)
    _check(listing, splits, kept, names, root)
    labels_of = [names.index(listing.classes[image]) for image in images]
    records = assemble(
        folder, images, labels_of, sizes, keep, found_boxes, names, apply_exif_orientation=apply_exif_orientation
    )
    split_of = np.array([splits[image] for image in records.images])
    by_split = {name: records.take(np.flatnonzero(split_of == name)) for name in SPLITS}
    return Splits(by_split["train"], by_split["val"] if len(by_split["val"]) else None, by_split["test"])


def _class_folders(root: Path, split: str, others: set[str]) -> Listing:
    """List <root>/<class>/<image>, or the same below train, val and test. Folders named in `others` may hold no images."""
    if split == "column":
        raise UserError("dataset.reader.split=column: a column needs a table; also give labels=<file.csv>")
    present = [name for name in SPLITS if (root / name).is_dir()]
    in_splits = split == "folders" or (split == "auto" and {"train", "test"} <= {*present})
    if in_splits and (lacking := {"train", "test"} - {*present}):
        raise UserError(
            f"dataset.root={root}: the split {min(lacking)} is missing; it is a folder {root / min(lacking)}"
        )
    classes, splits = dict[str, str](), dict[str, str]()
    for name in present if in_splits else [""]:
        for folder in _folders(root / name):
            images = _images(folder)
            if not images and folder.name not in others:
                raise UserError(f"{folder} is a class without images; add some, or delete the folder")
            for image in images:
                path = f"{name}/{folder.name}/{image}" if name else f"{folder.name}/{image}"
                classes[path] = folder.name
                if name:
                    splits[path] = name
    if not classes:
        raise UserError(f"dataset.root={root} has no folders with images; give each class a folder of its images")
    return Listing(classes, splits, str(root))


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")) if root.is_dir() else []


def _images(folder: Path) -> list[str]:
    names = sorted(
        p.name for p in folder.iterdir() if p.suffix.lower() in IMAGE_EXTENSIONS and not p.name.startswith(".")
    )
    for name in [folder.name, *names]:
        try:
            name.encode()
        except UnicodeEncodeError:  # surrogates stand for bytes that are not UTF-8
            raise UserError(f"{str(folder / name)!a}: the name is not UTF-8 text; rename it") from None
    return names


def _table(root: Path, labels: str) -> Listing:
    path = root / labels
    if not path.is_file():
        raise UserError(f"dataset.reader.labels={labels}: {path} is missing; it holds rows image,class[,split]")
    classes, splits = dict[str, str](), dict[str, str]()
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
            if words[2] not in SPLITS:
                raise UserError(f"{where}: '{words[2]}' is not a split; choose from {', '.join(SPLITS)}")
            splits[image] = words[2]
    return Listing(classes, splits, str(path))


def _draw_splits(
    classes: dict[str, str], kept: list[str], names: list[str], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Deal the images of each class to the splits. Depends on the seed and the names, not on their order."""
    wrong = set(fractions) - {*SPLITS} or any(not 0 <= fraction <= 1 for fraction in fractions.values())
    if wrong or not np.isclose(sum(fractions.values()), 1) or not fractions.get("train") or not fractions.get("test"):
        raise UserError(
            f"dataset.reader.fractions={dict(fractions)}: give fractions of train, val and test that add up to 1"
        )
    rng = np.random.default_rng(seed)
    splits: dict[str, str] = {}
    for name in names:
        of_class = sorted(image for image in kept if classes[image] == name)
        shuffled = [of_class[i] for i in rng.permutation(len(of_class))]
        # each requested split gets an image of every class while there are any
        for split in ("test", "val"):
            if fractions.get(split):
                count = max(round(fractions[split] * len(of_class)), 1) if len(shuffled) > 1 else 0
                splits |= dict.fromkeys(shuffled[:count], split)
                shuffled = shuffled[count:]
        splits |= dict.fromkeys(shuffled, "train")
    return splits


def _check(listing: Listing, splits: dict[str, str], kept: list[str], names: list[str], root: str) -> None:
    count = Counter(splits[image] for image in kept)
    for split in ("train", "test"):
        if not count[split]:
            raise UserError(f"{listing.source}: no image is in the split {split}; both train and test are needed")
    trained = {listing.classes[image] for image in kept if splits[image] == "train"}
    if unknown := sorted(set(names) - trained):
        image = next(image for image, name in listing.classes.items() if name == unknown[0])
        raise UserError(
            f"{listing.source}: the class {unknown[0]} ({image}) has no training image.{nearest(unknown[0], trained)} "
            "Add some, or remove the class"
        )
    if len(names) < 2:
        raise UserError(
            f"dataset.root={root} has the one class {names[0]}; a classifier needs at least two: add a "
            "folder of photos without it"
        )


def _natural_order(name: str) -> tuple[float, str]:
    return (float(name), "") if name.isdigit() else (float("inf"), name)
