"""Read the masks of an image: object, background and ignored pixels."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int8, UInt8
from PIL import Image

from spg_lightning.data.records import Records
from spg_lightning.errors import UserError
from spg_lightning.utils.pipes import refuse_pipe


def read_ternary_mask(records: Records, index: int, size: tuple[int, int] | None) -> Int8[np.ndarray, "Y X"]:
    """Return an image's pixels as 1 (object), 0 (background) or -1 (ignored); all of them ignored without any mask file.

    Args:
        records: with masks.
        index: of the image.
        size: width and height to resize every mask to, by nearest neighbour; None: as stored.

    Raises:
        UserError: a mask is missing or unreadable, or the masks of one image differ in size.
    """
    if not records.masks[index]:
        width, height = size or records.sizes[index]
        return np.full((height, width), -1, np.int8)
    parts = [_read(records.root / file, size) > records.mask_above for file in records.masks[index]]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise UserError(
            f"{records.root / records.masks[index][0]}: the masks of {records.images[index]} differ in size: "
            f"{', '.join(str(shape) for shape in sorted(shapes))}"
        )
    ternary = np.any(parts, axis=0).astype(np.int8)
    if records.ignored and records.ignored[index]:
        path = records.root / records.ignored[index]
        ignored = _read(path, size) > records.mask_above
        if ignored.shape != ternary.shape:
            raise UserError(f"{path}: {ignored.shape}, but the masks of {records.images[index]} are {ternary.shape}")
        ternary[ignored & (ternary == 0)] = -1
    return ternary


def _read(path: Path, size: tuple[int, int] | None) -> UInt8[np.ndarray, "Y X"]:
    refuse_pipe(path)
    try:
        with Image.open(path) as picture:
            mode, pixels = picture.mode, np.asarray(picture.convert("RGB" if picture.mode == "P" else picture.mode))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; it is listed as a mask") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} is not a readable mask ({str(error).splitlines()[0][:80] if str(error) else 'empty'})"
        ) from error
    if mode == "1":
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 3:
        colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        pixels = colours[..., 0] if (colours == colours[..., :1]).all() else pixels
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise UserError(f"{path} is a picture of mode {mode}; a mask is an 8-bit grey picture, the object bright")
    return pixels if size is None else np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST))
