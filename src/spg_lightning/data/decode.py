"""Decode an image file. Imports no torch, so that boxes on single images start soon."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, ImageOps

from spg_lightning.data.heic import open_image
from spg_lightning.data.jpeg import END, START, read_jpeg
from spg_lightning.errors import UserError
from spg_lightning.utils.pipes import refuse_pipe

BLOCK = 16  # rows of a JPEG's blocks: of a file without one, libjpeg makes up the first
DEEP = ("I;16", "I;16L", "I;16B", "I", "F")  # Pillow's modes of more than 8 bits a pixel


def read_image(
    path: Path,
    apply_exif_orientation: bool = False,
    at_least: int | None = None,
    on_truncated: Callable[[], None] | None = None,
) -> UInt8[np.ndarray, "Y X 3"]:
    """Return an image as RGB.

    Args:
        path: of the file.
        apply_exif_orientation: turn it as its EXIF orientation says; off for data sets whose boxes refer to the pixels as stored, see
            `Records.apply_exif_orientation`.
        at_least: pixels that are enough for its shorter side: a JPEG may come at 1/2, 1/4 or 1/8 of its size as long as no
            side falls below. None: in full.
        on_truncated: called for a file that is cut off at its end, which is then read as far as it goes; the rest is grey in a
            JPEG, black in other formats. None: such a file is broken.

    Grey, CMYK, palette and transparent pictures are converted, 16 bits a pixel scaled to 8, of an animation the first
    picture counts.

    Raises:
        UserError: the file is missing, broken, or a HEIC photo without pillow-heif; pixels that are no colours count as
            broken, and so does a file that is cut off in its first rows.
    """
    refuse_pipe(path)
    if (pixels := read_jpeg(path, apply_exif_orientation, at_least)) is not None:
        return pixels
    try:
        with open_image(path) as photo:
            return _as_rgb(photo, apply_exif_orientation)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if on_truncated is not None and (pixels := _read_truncated(path, apply_exif_orientation)) is not None:
            on_truncated()
            return pixels
        raise UserError(
            f"{path} is broken ({str(error).splitlines()[0][:80] if str(error) else 'no photo'})"
        ) from error


def _as_rgb(photo: Image.Image, apply_exif_orientation: bool) -> UInt8[np.ndarray, "Y X 3"]:
    turned = ImageOps.exif_transpose(photo) if apply_exif_orientation else photo
    if turned.mode in DEEP:
        turned = _to_8_bits(turned)
    return np.asarray(turned.convert("RGB"))


def _read_truncated(path: Path, apply_exif_orientation: bool) -> UInt8[np.ndarray, "Y X 3"] | None:
    """Return what there is of an image whose file is cut off at its end; None for one that is damaged otherwise.

    Pillow's own switch for this, `ImageFile.LOAD_TRUNCATED_IMAGES`, would hold for all threads and other users of Pillow.
    """
    try:
        data = path.read_bytes()
        # libjpeg fills up a JPEG that ends early, of a progressive one it shows all scans that are there
        with Image.open(BytesIO(data + END if data.startswith(START) else data)) as photo:
            _load_partly(photo)
            pixels = _as_rgb(photo, apply_exif_orientation)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return None if (pixels[BLOCK:] == pixels[-1, -1]).all() else pixels


def _load_partly(photo: ImageFile.ImageFile) -> None:
    """Decode an image up to where its file ends.

    Raises:
        OSError: it is damaged otherwise.
    """
    try:
        photo.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        photo.tile = []  # nothing is left to decode: Pillow does not try again


def _to_8_bits(photo: Image.Image) -> Image.Image:
    """Scale 16 bits to 8: Pillow would cut off what is above 255, and leave white."""
    values = np.asarray(photo)
    if photo.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"pixels of mode {photo.mode}; save it with 8 or 16 bits a colour")
    return Image.fromarray((values >> 8).astype(np.uint8))
