"""Read a folder of labelled images: one folder per class, or a table of files and classes; optionally with boxes and masks.

<root>/<class>/<image>                   or
<root>/{train,val,test}/<class>/<image>  or
a table image,class[,split], images relative to root

`Deviation:` from the other readers, images are rotated by their EXIF orientation by default: people and labelling tools see phone
images upright, and mark boxes on them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from spg_lightning.data.index.cached_reader import cached_reader
from spg_lightning.data.readers.annotation_files import split_name
from spg_lightning.data.readers.assemble import assemble
from spg_lightning.data.readers.folder_boxes import read_boxes
from spg_lightning.data.readers.folder_images import FolderImages
from spg_lightning.data.readers.folder_masks import read_masks
from spg_lightning.data.readers.folder_splits import SPLITS, draw_splits, natural_order
from spg_lightning.data.records import IMAGE_EXTENSIONS, Records, Splits
from spg_lightning.data.text_files import is_inside, read_csv
from spg_lightning.data.validation.image_sizes import read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError, nearest

ANNOTATIONS = (".xml", ".txt", ".yaml", ".json")  # files of a folder with boxes or masks
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


def _watched(
    root: str,
    labels: str | None,
    boxes: Sequence[str] | str | None,
    masks: Sequence[str] | str | None = None,
    **_: object,
) -> list[Path]:
    """Return the files and folders that an index of these images depends on."""
    folder = Path(root).expanduser()
    named = [labels] if labels else []
    named += [split_name(name)[0] for name in (*_names(boxes), *_names(masks))]
    paths = list(dict.fromkeys(folder / name for name in named))
    inside = [file for path in paths if path.is_dir() for file in sorted(path.rglob("*"))]
    paths += [file for file in inside if file.suffix.lower() in ANNOTATIONS or file.is_dir()]
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
    masks: Sequence[str] | str | None,
    issues: IssueCollector | None = None,
) -> Splits:
    """Return labelled images with their boxes and masks, if any. The path below `root` is an image's name.

    Images with ground truth choose and measure, the others train: see `draw_splits` and `stratified_holdout`.

    Args:
        root: folder of the images.
        labels: table image,class[,split], relative to `root`; None for class folders.
        split: "folders" (sub-folders train, val, test), "column" (of the table), "fractions" (drawn by `seed`, stratified), or
            "auto" for the first of these that applies. Without val, it is held out of the training images. A single folder
            train/ is split by fractions.
        fractions: split -> fraction, for "fractions".
        seed: of the fractions.
        boxes: a .csv table image,x0,y0,x1,y1, a COCO or Label Studio .json, a CVAT .xml, a folder of Pascal VOC .xml files, a
            YOLO folder, or several; None without boxes.
        apply_exif_orientation: see `Records.apply_exif_orientation`.
        masks: a folder of .png, annotation files with polygons or masks, or several; None without masks.
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
    annotations = {split_name(name)[0] for name in (*_names(boxes), *_names(masks))}
    listing = _table(folder, labels) if labels else _class_folders(folder, split, annotations)
    images = list(listing.classes)
    sizes, keep = read_image_sizes(folder, images, listing.source, issues, apply_exif_orientation)
    annotated = FolderImages(folder, images, sizes, keep, issues)
    found_boxes = read_boxes(boxes, annotated) if boxes else {}
    found_masks = read_masks(masks, annotated) if masks else []
    if issues.collect:  # an image with a wrong box is left out like an unreadable one
        wrong = set(issues.found.values())
        keep &= np.array([issues.name(folder / image) not in wrong for image in images])
    names = sorted(set(listing.classes.values()), key=natural_order)
    kept = [image for image, ok in zip(images, keep, strict=True) if ok]
    splits = listing.splits
    if not splits:
        if split in ("folders", "column"):
            raise UserError(f"dataset.reader.split={split}, but dataset.root={root} assigns no image to a split")
        has_truth = {images[i] for i in found_boxes} | {
            image for image, files in zip(images, found_masks, strict=False) if files
        }
        splits = draw_splits(listing.classes, kept, fractions, seed, has_truth)
    _check(listing, splits, kept, names, root)
    labels_of = [names.index(listing.classes[image]) for image in images]
    records = assemble(folder, images, labels_of, sizes, keep, found_boxes, names, found_masks, apply_exif_orientation)
    split_of = np.array([splits[image] for image in records.images])
    by_split = {name: _take(records, split_of == name) for name in SPLITS}
    return Splits(by_split["train"], by_split["val"] if len(by_split["val"]) else None, by_split["test"])


def _names(files: Sequence[str] | str | None) -> list[str]:
    return [files] if isinstance(files, str) else [*(files or ())]


def _take(records: Records, chosen: Bool[np.ndarray, " N"]) -> Records:
    """Return the chosen records, without the column of masks if none of them has any."""
    taken = records.take(np.flatnonzero(chosen))
    return taken if any(taken.masks) else replace(taken, masks=())


def _class_folders(root: Path, split: str, others: set[str]) -> Listing:
    """List <root>/<class>/<image>, or the same below train, val and test.

    Annotations are no class: the folders named in `others`, and folders around them without images.
    """
    if split == "column":
        raise UserError("dataset.reader.split=column: a column needs a table; also give labels=<file.csv>")
    present = [name for name in SPLITS if (root / name).is_dir()]
    around = {Path(name).parts[0] for name in others}
    in_splits = split == "folders" or (split == "auto" and {"train", "test"} <= {*present})
    if in_splits and (lacking := {"train", "test"} - {*present}):
        raise UserError(
            f"dataset.root={root}: the split {min(lacking)} is missing; it is a folder {root / min(lacking)}"
        )
    classes, splits = dict[str, str](), dict[str, str]()
    is_train_alone = split == "auto" and [*present] == ["train"] and not _images(root / "train")
    for name in present if in_splits or is_train_alone else [""]:
        for folder in _folders(root / name):
            below = folder.relative_to(root).as_posix()
            images = [] if below in others else _images(folder)
            if not images and below in around:
                continue
            if not images:
                raise UserError(f"{folder} is a class without images; add some, or delete the folder")
            for image in images:
                path = f"{name}/{folder.name}/{image}" if name else f"{folder.name}/{image}"
                classes[path] = folder.name
                if in_splits:
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
