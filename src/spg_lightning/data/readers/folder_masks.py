"""Masks for a folder of images: a folder of pictures, or annotation files, which are drawn once."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spg_lightning.data.index import cache
from spg_lightning.data.readers.annotation_files import read_annotations, split_name
from spg_lightning.data.readers.folder_images import Annotation, FolderImages, Mask
from spg_lightning.data.readers.yolo_folder import DATA
from spg_lightning.errors import UserError
from spg_lightning.utils.atomic import atomically

FOLDER = "masks"  # below the data set's folder of the cache


def read_masks(files: Sequence[str] | str, images: FolderImages) -> list[tuple[str, ...]]:
    """Return the mask files of each image, relative to the root of `images`; none for an image that nobody outlined.

    Args:
        files: a folder of .png, each at the path of its image below the root; or annotation files with polygons or masks, see
            `read_annotations`; one or several.
        images: that the files annotate; its `issues` takes outlines that are wrong.

    Raises:
        UserError: a file or row is wrong, or no annotation has an outline.
    """
    masks: dict[int, list[str]] = {}
    outlines: dict[int, list[Annotation]] = {}
    for name in [files] if isinstance(files, str) else files:
        path = images.root / split_name(name)[0]
        if path.is_dir() and not (path / DATA).is_file() and (pictures := sorted(path.rglob("*.png"))):
            for picture in pictures:
                index = images.find(picture.relative_to(path).with_suffix("").as_posix(), str(picture))
                if index is not None:
                    masks.setdefault(index, []).append(os.path.relpath(picture, images.root))
            continue
        outlined = [a for a in read_annotations(name, images, "dataset.reader.masks") if a.draw is not None]
        if not outlined:
            raise UserError(f"dataset.reader.masks={name}: it has no polygon and no mask; give it as boxes instead")
        for annotation in outlined:
            outlines.setdefault(annotation.index, []).append(annotation)
    for index, annotations in outlines.items():
        if (drawn := _draw(annotations, images)) is not None:
            masks.setdefault(index, []).append(_save(drawn, images.root))
    return [tuple(masks.get(index, ())) for index in range(len(images.names))]


def _draw(annotations: Sequence[Annotation], images: FolderImages) -> Mask | None:
    """Return the union of an image's outlines; None if one of them is empty and `issues` took it."""
    masks = []
    for annotation in annotations:
        assert annotation.draw is not None
        masks.append(annotation.draw())
        if not masks[-1].any():
            images.report(annotation.index, f"{annotation.where}: the outline encloses no pixel; delete it")
            return None
    return np.asarray(np.any(masks, axis=0))


def _save(mask: Mask, root: Path) -> str:
    """Write a mask into the data set's cache under a name made of its pixels, and return the path relative to `root`."""
    code = hashlib.sha256(repr(mask.shape).encode() + np.packbits(mask).tobytes()).hexdigest()[:32]
    place = cache.find(root, f"{FOLDER}/{code}.png") or cache.writable(root) / FOLDER / f"{code}.png"
    if not place.is_file():
        with atomically(place, is_shared=True) as file:
            Image.fromarray(mask).save(file, "PNG")
    return os.path.relpath(place, root) if place.is_relative_to(root) else str(place.absolute())
