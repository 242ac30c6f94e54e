"""Decode ordinary JPEG files fast, in full or at a reduced scale; what is unusual is left to Pillow.

OpenCV's and Pillow's libjpeg-turbo give the same pixels (tests/data/test_jpeg.py); OpenCV's are there sooner, and without a
second copy. At 1/2, 1/4 and 1/8 the inverse cosine transform itself yields the smaller picture. The other eighths, which
libjpeg-turbo has, too, are slower than the whole picture (experiments/input_speed).
"""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from spg_lightning.data.validation.image_sizes import ORIENTATION

START, END = b"\xff\xd8\xff", b"\xff\xd9"
FLAGS = {  # OpenCV has no names for "reduced, as RGB"; GRAYSCALE is the flag without a colour, which COLOR_RGB adds
    factor: reduced | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    for factor, reduced in (
        (1, 0),
        (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
        (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
        (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    )
}


def decode_jpeg(data: bytes, apply_exif_orientation: bool, at_least: int | None) -> UInt8[np.ndarray, "Y X 3"] | None:
    """Return the pixels of an ordinary JPEG file as RGB, None where Pillow has to look.

    Ordinary are files that end as they should (OpenCV fills up a truncated one with grey and says nothing), in colour or
    grey, of no more pixels than Pillow takes without a warning, and not to be turned.

    Args:
        data: the file.
        apply_exif_orientation: see `read_image`.
        at_least: see `read_image`.
    """
    if not data.startswith(START) or not data.endswith(END):
        return None
    try:
        with Image.open(BytesIO(data)) as header:  # reads no pixels
            turned = apply_exif_orientation and header.getexif().get(ORIENTATION, 1) != 1
            if (
                turned
                or header.mode not in ("RGB", "L")
                or header.width * header.height > (Image.MAX_IMAGE_PIXELS or 0)
            ):
                return None
            flag = FLAGS[reduction(header.size, at_least)]
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except (OSError, SyntaxError, ValueError, cv2.error, Image.DecompressionBombError):
        return None  # Pillow's own attempt says what is wrong
    return None if pixels is None else np.asarray(pixels)


def reduction(size: tuple[int, int], at_least: int | None) -> int:
    """Return by how much a JPEG of `size` (width, height) may be reduced: 8, 4, 2 or 1, no side below `at_least` pixels."""
    if at_least is None:
        return 1
    return next((factor for factor in (8, 4, 2) if min(size) // factor >= at_least), 1)


def read_jpeg(path: Path, apply_exif_orientation: bool, at_least: int | None) -> UInt8[np.ndarray, "Y X 3"] | None:
    """Return the pixels of a file as `decode_jpeg` does; None, too, for one that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(len(START))
            return decode_jpeg(start + file.read(), apply_exif_orientation, at_least) if start == START else None
    except OSError:
        return None
