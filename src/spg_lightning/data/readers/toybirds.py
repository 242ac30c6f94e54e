"""The embedded data set: birds drawn by code into the CUB layout on first use. Its pictures: birds.py."""

import hashlib
import logging
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from spg_lightning.data.index.cache import cache_folder
from spg_lightning.data.readers import toybirds_drawing as birds
from spg_lightning.data.readers.cub import read_cub
from spg_lightning.data.records import Splits
from spg_lightning.errors import UserError

log = logging.getLogger(__name__)
SIZES = ((128, 128), (144, 112), (112, 144), (136, 120))  # width, height


def read_toybirds(root: str | None, num_train: int, num_test: int, seed: int) -> Splits:
    """Draw the data set unless it is there, then read it as CUB.

    Args:
        root: folder that keeps drawn data sets; None for spg_lightning's folder in the user's cache.
        num_train, num_test: images, distributed evenly over the eight classes.
        seed: the same seed gives the same files, byte for byte.
    """
    for name, number in (("num_train", num_train), ("num_test", num_test)):
        if number < 2 * len(birds.SPECIES):
            raise UserError(f"dataset.{name}={number}: at least {2 * len(birds.SPECIES)}, two of each class")
    base = Path(root).expanduser() if root else cache_folder()
    return read_cub(str(draw_toybirds(base, num_train, num_test, seed)))


def draw_toybirds(base: Path, num_train: int, num_test: int, seed: int) -> Path:
    """Draw the data set below `base` and return its folder; if it is there already, only return it.

    The folder's name tells its content, the version of the drawing code included. Everything is drawn into a temporary
    folder and renamed at the end: an interrupted run leaves no half data set, and of two processes that start at once
    the first to finish wins and both see a whole one.
    """
    version = hashlib.sha256(Path(birds.__file__).read_bytes() + Path(__file__).read_bytes()).hexdigest()[:8]
    folder = base / f"toybirds-{num_train}-{num_test}-seed{seed}-{version}"
    if folder.is_dir():
        return folder
    base.mkdir(parents=True, exist_ok=True)
    log.info("drawing %d toy birds into %s", num_train + num_test, folder)
    unfinished = Path(tempfile.mkdtemp(prefix=".toybirds-", dir=base))
    try:
        _draw(unfinished, num_train, num_test, seed)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _draw(folder: Path, num_train: int, num_test: int, seed: int) -> None:
    classes = [f"{k + 1:03d}.{species.name}" for k, species in enumerate(birds.SPECIES)]
    for part in ("images", "segmentations"):
        for name in classes:
            (folder / part / name).mkdir(parents=True)
    lists: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "bounding_boxes", "train_test_split")
    }
    for number in range(num_train + num_test):
        label = number % len(classes)
        rng = np.random.default_rng([seed, number])
        picture, mask = birds.draw_bird(birds.SPECIES[label], rng, SIZES[rng.integers(len(SIZES))])
        name = f"{classes[label]}/{birds.SPECIES[label].name}_{number:05d}"
        _write(
            folder / "images" / f"{name}.jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95]
        )
        _write(folder / "segmentations" / f"{name}.png", mask.astype(np.uint8) * 255, [])
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        width, height = columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
        lists["images"].append(f"{number + 1} {name}.jpg")
        lists["image_class_labels"].append(f"{number + 1} {label + 1}")
        lists["bounding_boxes"].append(f"{number + 1} {columns[0]}.0 {rows[0]}.0 {width}.0 {height}.0")
        lists["train_test_split"].append(f"{number + 1} {int(number < num_train)}")
    lists["classes"] = [f"{k + 1} {name}" for k, name in enumerate(classes)]
    for file, lines in lists.items():
        (folder / f"{file}.txt").write_text("\n".join(lines) + "\n")


def _write(path: Path, picture: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), picture, options):
        raise OSError(f"{path} cannot be written; is the disk full?")
