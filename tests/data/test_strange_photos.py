"""Photos that are not 8-bit RGB, and what becomes of them."""

import numpy as np
import pytest
from PIL import Image

from spg_lightning.data import read_image
from spg_lightning.errors import UserError

PICTURE = np.dstack([np.full((20, 30), value, np.uint8) for value in (200, 40, 90)])


def cmyk(path):
    Image.fromarray(PICTURE).convert("CMYK").save(path, "JPEG", quality=95)


def grey(path):
    Image.fromarray(PICTURE[..., 0]).save(path, "PNG")


def deep(path):
    Image.fromarray(np.full((20, 30), 200 * 257, np.uint16)).save(path, "PNG")


def animated(path):
    frames = [Image.fromarray(p) for p in (PICTURE, 255 - PICTURE)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def transparent(path):
    Image.fromarray(np.dstack([PICTURE, np.full((20, 30), 7, np.uint8)])).save(path, "PNG")


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (cmyk, (200, 40, 90)),
        (grey, (200, 200, 200)),
        (deep, (200, 200, 200)),
        (animated, (200, 40, 90)),
        (transparent, (200, 40, 90)),
    ],
)
def test_is_read_as_8_bit_rgb(tmp_path, write, expected):
    write(tmp_path / "photo")
    pixels = read_image(tmp_path / "photo")
    assert pixels.shape == (20, 30, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).max() <= 6


def test_pixels_that_are_no_colours_are_refused(tmp_path):
    Image.fromarray(np.full((20, 30), 0.5, np.float32)).save(tmp_path / "photo.tiff")
    with pytest.raises(UserError, match=r"photo\.tiff is broken \(pixels of mode F"):
        read_image(tmp_path / "photo.tiff")


@pytest.mark.parametrize("left", [0, 100])
def test_a_file_cut_short_is_named(tmp_path, left):
    Image.fromarray(PICTURE).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:left])
    with pytest.raises(UserError, match=r"photo\.jpg is broken"):
        read_image(tmp_path / "photo.jpg")
