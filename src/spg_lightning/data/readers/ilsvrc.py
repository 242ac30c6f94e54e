"""Read ILSVRC CLS-LOC (Russakovsky et al., 2015) as downloaded.

Data/CLS-LOC/train/<WordNet id>/<name>.JPEG
Data/CLS-LOC/val/<name>.JPEG
Annotations/CLS-LOC/val/<name>.xml                 boxes and class; train/<WordNet id>/<name>.xml for some
LOC_synset_mapping.txt                             <WordNet id> <names>; optional, here or one folder up
ImageSets/CLS-LOC/{train_cls,val}.txt              <path without ending> <number>; optional; all images by default

The official val is the test split, as in all papers: the labels of the official test images are not public. ImageNetV2, with
lists in the benchmark's format (see benchmark.py), can be the val split.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spg_lightning.data.index.cached_reader import cached_reader
from spg_lightning.data.readers.assemble import assemble
from spg_lightning.data.readers.benchmark import read_split
from spg_lightning.data.readers.benchmark_metadata import LISTS
from spg_lightning.data.readers.voc import read_voc
from spg_lightning.data.records import Records, Splits
from spg_lightning.data.text_files import and_n_more, is_inside, read_lines
from spg_lightning.data.validation.image_sizes import Box, checked_box, read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError

log = logging.getLogger(__name__)
MAPPING = "LOC_synset_mapping.txt"
PHOTOS, ANNOTATIONS, SETS = Path("Data/CLS-LOC"), Path("Annotations/CLS-LOC"), Path("ImageSets/CLS-LOC")
ENDING = ".JPEG"


def _home(root: str) -> Path:
    """Return the folder of Data and Annotations: some archives put them into one called ILSVRC."""
    folder = Path(root).expanduser()
    return folder / "ILSVRC" if not (folder / "Data").is_dir() and (folder / "ILSVRC" / "Data").is_dir() else folder


def _watched(root: str, val_metadata: str | None, **_: object) -> list[Path]:
    home = _home(root)
    lists = [home / MAPPING, home.parent / MAPPING, *(home / SETS / f"{name}.txt" for name in ("train_cls", "val"))]
    folders = [home / PHOTOS / "val", home / ANNOTATIONS / "val"]
    for base in (PHOTOS, ANNOTATIONS):
        folders += sorted(p for p in (home / base / "train").iterdir()) if (home / base / "train").is_dir() else []
    val = [Path(val_metadata).expanduser() / name for name in LISTS] if val_metadata else []
    return [*lists, *folders, *val]


@cached_reader(_watched)
def read_ilsvrc(
    root: str, val_metadata: str | None, val_root: str | None, issues: IssueCollector | None = None
) -> Splits:
    """Return the training images, ImageNetV2 as val if given, and the official val as test.

    Without ImageNetV2, val is held out of the training images, whose boxes are then read; not all have boxes.

    Args:
        root: folder of Data, Annotations and so on.
        val_metadata, val_root: the benchmark's lists and the images of ImageNetV2, or both None.
        issues: collects the problems; None raises the first.

    Raises:
        UserError: a file or row is wrong; the message names it and the fix.
    """
    home = _home(root)
    issues = issues or IssueCollector.of(Path(root).expanduser())
    for folder in (home / PHOTOS / "train", home / PHOTOS / "val", home / ANNOTATIONS / "val"):
        if not folder.is_dir():
            raise UserError(
                f"dataset.root={root}: {folder} is missing; put the extracted CLS-LOC data there (Data, Annotations, "
                "ImageSets), or point dataset.root at it"
            )
    if (val_metadata is None) != (val_root is None):
        raise UserError(
            "dataset.reader.val_metadata and val_root belong together: give the lists and the images of ImageNetV2"
        )
    wordnet_ids, names = _classes(home)
    train = _train(home, wordnet_ids, names, issues, with_boxes=val_metadata is None)
    val = None
    if val_metadata is not None and val_root is not None:
        val = read_split(val_metadata, val_root, None, issues, with_truth=True, class_names=names)
    return Splits(train=train, val=val, test=_test(home, wordnet_ids, names, issues))


def _classes(home: Path) -> tuple[dict[str, int], list[str]]:
    """Return WordNet id -> class index, and the classes' names; the order is that of the ids, as everywhere."""
    file = next((path for path in (home / MAPPING, home.parent / MAPPING) if path.is_file()), None)
    if file is None:
        ids = sorted(path.name for path in (home / PHOTOS / "train").iterdir() if path.is_dir())
        return {wordnet_id: k for k, wordnet_id in enumerate(ids)}, ids
    table: dict[str, str] = {}
    for number, line in read_lines(file):
        wordnet_id, _, text = line.strip().partition(" ")
        if not text:
            raise UserError(f"{file}, line {number}: cannot read '{line[:80]}'; rows are <WordNet id> <names>")
        if wordnet_id in table:
            raise UserError(f"{file}, line {number}: {wordnet_id} is listed twice; keep one row per class")
        table[wordnet_id] = text
    ids = sorted(table)
    return {wordnet_id: k for k, wordnet_id in enumerate(ids)}, [f"{i} {table[i].split(',')[0]}" for i in ids]


def _train(
    home: Path, wordnet_ids: dict[str, int], names: list[str], issues: IssueCollector, with_boxes: bool
) -> Records:
    folder = home / PHOTOS / "train"
    source, images = _listed(home, "train_cls", folder)
    if not images:
        images = [
            f"{path.name}/{p.name}"
            for path in sorted(folder.iterdir())
            if path.is_dir()
            for p in sorted(path.iterdir())
        ]
        images = [image for image in images if image.endswith(ENDING)]
    of = [image.partition("/")[0] for image in images]
    if unknown := [i for i, wordnet_id in enumerate(of) if wordnet_id not in wordnet_ids]:
        raise UserError(f"{source}: {images[unknown[0]]} has an unknown class{and_n_more(unknown)}; see {MAPPING}")
    if empty := sorted(set(wordnet_ids) - set(of)):
        raise UserError(f"{source}: the class {empty[0]} has no training image{and_n_more(empty)}; restore its folder")
    sizes, good = read_image_sizes(folder, images, source, issues, apply_exif_orientation=False)
    boxes: dict[int, list[Box]] = {}
    if with_boxes:
        base = home / ANNOTATIONS / "train"
        # listed by folder: asking for half a million files that may not be there is slow
        there = (
            {f"{p.name}/{f.stem}" for p in base.iterdir() if p.is_dir() for f in p.iterdir()}
            if base.is_dir()
            else set()
        )
        with_file = [i for i, image in enumerate(images) if good[i] and image.removesuffix(ENDING) in there]
        boxes, _ = _boxes(base, folder, images, sizes, with_file, issues)
    return assemble(folder, images, [wordnet_ids[w] for w in of], sizes, good, boxes, names)


def _test(home: Path, wordnet_ids: dict[str, int], names: list[str], issues: IssueCollector) -> Records:
    folder, annotations = home / PHOTOS / "val", home / ANNOTATIONS / "val"
    source, images = _listed(home, "val", folder)
    images = images or sorted(path.name for path in folder.iterdir() if path.suffix == ENDING)
    if not images:
        raise UserError(f"{folder} contains no {ENDING} files; it is the test split")
    sizes, good = read_image_sizes(folder, images, source, issues, apply_exif_orientation=False)
    lacking = [image for image in images if not (annotations / image).with_suffix(".xml").is_file()]
    if lacking:
        raise UserError(
            f"{annotations}: no .xml for {lacking[0]}{and_n_more(lacking)}; it holds the boxes and the class"
        )
    boxes, classes = _boxes(annotations, folder, images, sizes, np.flatnonzero(good).tolist(), issues)
    labels = np.zeros(len(images), dtype=np.int64)
    for i in np.flatnonzero(good).tolist():
        named = classes.get(i, "")
        if i not in boxes or named not in wordnet_ids:
            if i in boxes or named:
                file = (annotations / images[i]).with_suffix(".xml")
                issues.add(
                    f"{file}: the class '{named}' is not known, or it has no box; restore it", folder / images[i]
                )
            good[i] = False
        else:
            labels[i] = wordnet_ids[named]
    return assemble(folder, images, labels.tolist(), sizes, good, boxes, names)


def _listed(home: Path, name: str, folder: Path) -> tuple[str, list[str]]:
    """Return the file that lists the images, and their paths; the folder and no paths without a list."""
    file = home / SETS / f"{name}.txt"
    if not file.is_file():
        return str(folder), []
    images: dict[str, None] = {}
    for number, line in read_lines(file):
        image = line.split()[0] + ENDING
        if not is_inside(image):
            raise UserError(f"{file}, line {number}: {image} lies outside {folder}; refused")
        if image in images:
            raise UserError(f"{file}, line {number}: {image} is listed twice; keep one row per image")
        images[image] = None
    return str(file), list(images)


def _boxes(
    annotations: Path, folder: Path, images: list[str], sizes: np.ndarray, which: Iterable[int], issues: IssueCollector
) -> tuple[dict[int, list[Box]], dict[int, str]]:
    """Return index -> boxes, and index -> WordNet id, from the annotations of `which` images.

    Some official boxes stick out of their image; they are clipped.
    """
    boxes: dict[int, list[Box]] = {}
    classes: dict[int, str] = {}
    for i in which:
        photo, file = folder / images[i], (annotations / images[i]).with_suffix(".xml")
        width, height = (int(side) for side in sizes[i])
        for name, (x0, y0, x1, y1) in zip(*read_voc(file, issues, photo), strict=True):
            clipped = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
            classes[i] = name
            box = clipped if np.isfinite((x0, y0, x1, y1)).all() else (x0, y0, x1, y1)
            if (inside := checked_box(box, (width, height), str(file), issues, photo, inclusive=True)) is not None:
                boxes.setdefault(i, []).append(inside)
    return boxes, classes
