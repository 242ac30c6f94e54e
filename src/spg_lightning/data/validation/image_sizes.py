"""Sizes of images from their headers, and boxes that have to lie in them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image, UnidentifiedImageError

from spg_lightning.data.heic import open_image
from spg_lightning.data.text_files import is_inside
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError
from spg_lightning.utils.pipes import refuse_pipe

TOLERANCE = 1.0  # pixels a box may stick out (rounding in scaled copies of a data set); it is clipped to the image
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: the tag, and its values that swap width and height
THREADS, CHUNK = 8, 256
Box = tuple[float, float, float, float]


def read_image_sizes(
    folder: Path, images: Sequence[str], listed_in: str, issues: IssueCollector, apply_exif_orientation: bool
) -> tuple[Int[np.ndarray, "N 2"], Bool[np.ndarray, " N"]]:
    """Return the sizes of images, and which of them are readable and not in quarantine.

    Reads headers only, so that a missing image is found before training.

    Args:
        folder: that `images` are relative to.
        images: paths.
        listed_in: the file that lists them, for the message.
        issues: collects the problems.
        apply_exif_orientation: return the sizes of the rotated images.
    """
    sizes = np.zeros((len(images), 2), dtype=np.int64)
    good = np.ones(len(images), dtype=bool)
    findings: dict[Path, str] = {}

    def work(start: int) -> None:
        for i in range(start, min(start + CHUNK, len(images))):
            path = folder / images[i]
            if issues.is_left_out(path):
                good[i] = False
                continue
            found = size_of(path, apply_exif_orientation)
            if isinstance(found, str):
                findings[path], good[i] = found, False
            else:
                sizes[i] = found

    if outside := next((name for name in images if not is_inside(name)), None):
        raise UserError(f"{listed_in}: {outside} lies outside {folder}; refused")
    if odd := next((name for name in images if not name.isascii() and not _is_text(name)), None):
        raise UserError(f"{listed_in}: {str(folder / odd)!a}: the name is not UTF-8 text; rename it")
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(0, len(images), CHUNK)))
    ordered = {folder / name: findings[folder / name] for name in images if folder / name in findings}
    issues.add_photos(
        ordered, f"restore it, leave it out of {listed_in}, or let spg-prepare leave all such out: quarantine=true"
    )
    return sizes, good


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of a file's name that are no UTF-8 come as surrogates
        return False
    return True


def size_of(path: Path, apply_exif_orientation: bool) -> tuple[int, int] | str:
    """Return an image's width and height, or what is wrong with its file."""
    try:
        refuse_pipe(path)
        with open_image(path) as photo:
            width, height = photo.size
            turned = apply_exif_orientation and photo.getexif().get(ORIENTATION) in TURNED
    except UserError as error:
        return str(error)
    except FileNotFoundError:
        return f"{path} is missing"
    except Image.DecompressionBombError:
        return f"{path} is not a readable image (too many pixels)"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return f"{path} is not a readable image"
    return (height, width) if turned else (width, height)


def checked_box(
    box: Box, size: tuple[int, int], where: str, issues: IssueCollector, photo: Path, inclusive: bool = False
) -> Box | None:
    """Return a box x0 y0 x1 y1 clipped to its image of `size` (width, height), None for one that issues took.

    Args:
        box: as listed.
        size: of the image.
        where: file and row.
        issues: takes a box that is not finite, ends before it begins, or exceeds its image by more than `TOLERANCE`.
        image: whose box it is.
        inclusive: the far corner is the last pixel, so that a box may end where it begins.
    """
    x0, y0, x1, y1 = box
    text = ", ".join(f"{corner:g}" for corner in box)
    if not all(np.isfinite(box)):
        issues.add(f"{where}: the box {text} has numbers that are not finite; correct the row", photo)
    elif min(x1 - x0, y1 - y0) < 0 or (not inclusive and min(x1 - x0, y1 - y0) == 0):
        issues.add(f"{where}: the box {text} ends before it begins; corners are x0, y0, x1, y1", photo)
    elif min(x0, y0) < -TOLERANCE or x1 > size[0] + TOLERANCE or y1 > size[1] + TOLERANCE:
        issues.add(f"{where}: the box {text} exceeds its image of {size[0]} x {size[1]} pixels", photo)
    else:
        return max(x0, 0.0), max(y0, 0.0), min(x1, float(size[0])), min(y1, float(size[1]))
    return None
