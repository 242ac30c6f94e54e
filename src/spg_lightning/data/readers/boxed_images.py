"""Read the images of a folder that have boxes, where nothing is to be trained: any method's maps are measured against them."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from spg_lightning.data.readers.annotation_files import split_name
from spg_lightning.data.readers.assemble import assemble
from spg_lightning.data.readers.folder_boxes import read_boxes
from spg_lightning.data.readers.folder_images import FolderImages
from spg_lightning.data.readers.folder_splits import natural_order
from spg_lightning.data.records import IMAGE_EXTENSIONS, Records
from spg_lightning.data.validation.image_sizes import read_image_sizes
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError


def read_boxed_images(root: Path, boxes: Sequence[str] | str) -> Records:
    """Return the images with boxes, turned as their EXIF orientation says. The class of an image is its folder's name.

    Args:
        root: folder of the images, which may lie in sub-folders.
        boxes: see `read_boxes`; relative to the working directory or to `root`.

    Raises:
        UserError: an image, a file of boxes or a row is wrong, or no image has a box.
    """
    paths = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_EXTENSIONS)
    names = [path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)]
    issues = IssueCollector.of(root)
    sizes, keep = read_image_sizes(root, names, str(root), issues, apply_exif_orientation=True)
    files = [_from_here(name) for name in ([boxes] if isinstance(boxes, str) else boxes)]
    found = read_boxes(files, FolderImages(root, names, sizes, keep, issues), "boxes")
    classes = [PurePosixPath(name).parent.name for name in names]
    class_names = sorted({*classes}, key=natural_order)
    labels = [class_names.index(name) for name in classes]
    records = assemble(root, names, labels, sizes, keep, found, class_names, apply_exif_orientation=True)
    if not len(records.boxes):
        raise UserError(f"boxes={boxes}: no image below {root} has a box")
    return records.take(np.flatnonzero(records.is_annotated))


def _from_here(name: str) -> str:
    """Return a file that exists in the working directory with its whole path; `FolderImages` looks below its root."""
    path = Path(split_name(name)[0]).expanduser()
    return name.replace(split_name(name)[0], str(path.absolute()), 1) if path.exists() else name
