"""Decode an image file. Imports no torch, so that boxes on single images start soon."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from spg_lightning.data.jpeg import read_jpeg
from spg_lightning.errors import UserError

DEEP = ("I;16", "I;16L", "I;16B", "I", "F")  # Pillow's modes of more than 8 bits a pixel


def read_image(
    path: Path, apply_exif_orientation: bool = False, at_least: int | None = None
) -> UInt8[np.ndarray, "Y X 3"]:
    """Return an image as RGB.

    Args:
        path: of the file.
        apply_exif_orientation: turn it as its EXIF orientation says; off for data sets whose boxes refer to the pixels as stored, see
            `Records.apply_exif_orientation`.
        at_least: pixels that are enough for its shorter side: a JPEG may come at 1/2, 1/4 or 1/8 of its size as long as no
            side falls below. None: in full.

    Grey, CMYK, palette and transparent pictures are converted, 16 bits a pixel scaled to 8, of an animation the first
    picture counts.

    Raises:
        UserError: the file is missing or broken; truncated files count as broken, and so do pixels that are no colours.
    """
    if (pixels := read_jpeg(path, apply_exif_orientation, at_least)) is not None:
        return pixels
    try:
        with Image.open(path) as photo:
            turned = ImageOps.exif_transpose(photo) if apply_exif_orientation else photo
            if turned.mode in DEEP:
                turned = _to_8_bits(turned)
            return np.asarray(turned.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} is broken ({str(error).splitlines()[0][:80] if str(error) else 'no photo'})"
        ) from error


def _to_8_bits(photo: Image.Image) -> Image.Image:
    """Scale 16 bits to 8: Pillow would cut off what is above 255, and leave white."""
    values = np.asarray(photo)
    if photo.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"pixels of mode {photo.mode}; save it with 8 or 16 bits a colour")
    return Image.fromarray((values >> 8).astype(np.uint8))
