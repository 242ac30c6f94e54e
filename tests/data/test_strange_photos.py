"""Photos that are not 8-bit RGB, and what becomes of them."""

import numpy as np
import pytest
from PIL import Image

from spg_lightning.data import read_image
from spg_lightning.errors import UserError
from tests.trees import photo_like

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


def cut(path, fraction, kind="JPEG", **options):
    """Write a detailed photo whose file ends early, and return its pixels in full."""
    Image.fromarray(photo_like((96, 64), 0)).save(path, kind, **options)
    with Image.open(path) as photo:
        pixels = np.asarray(photo.convert("RGB")).astype(int)
    data = path.read_bytes()
    path.write_bytes(data[: int(fraction * len(data))])
    return pixels


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_file_cut_off_at_its_end_is_read_as_far_as_it_goes(tmp_path, kind):
    pixels, seen = cut(tmp_path / "photo", 0.6, kind), []
    with pytest.raises(UserError, match=r"photo is broken \(image file is truncated"):
        read_image(tmp_path / "photo")
    found = read_image(tmp_path / "photo", on_truncated=lambda: seen.append(1))
    assert found.shape == pixels.shape
    assert np.array_equal(found[:8], pixels[:8])
    assert np.ptp(found[-8:].reshape(-1, 3), axis=0).max() == 0
    assert found[-1, -1, 0] == (128 if kind == "JPEG" else 0)
    assert seen == [1]


def test_of_a_progressive_file_all_scans_are_used(tmp_path):
    pixels = cut(tmp_path / "photo", 0.6, progressive=True)
    found = read_image(tmp_path / "photo", on_truncated=lambda: None)
    assert 0 < np.abs(found - pixels).mean() < 16
    assert np.abs(found[-8:] - pixels[-8:]).mean() < 16


def test_a_truncated_file_is_turned_as_a_whole_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    cut(tmp_path / "photo", 0.8, exif=exif)
    assert read_image(tmp_path / "photo", True, on_truncated=lambda: None).shape == (96, 64, 3)


def test_a_file_cut_off_after_its_header_is_broken(tmp_path):
    cut(tmp_path / "photo", 1)
    data = (tmp_path / "photo").read_bytes()
    header = data.index(b"\xff\xda") + 14
    (tmp_path / "photo").write_bytes(data[:header])
    with pytest.raises(UserError, match="photo is broken"):
        read_image(tmp_path / "photo", on_truncated=lambda: pytest.fail("there is nothing to use"))


def test_a_file_damaged_in_the_middle_is_broken(tmp_path):
    cut(tmp_path / "photo", 1, "PNG")
    data = bytearray((tmp_path / "photo").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    (tmp_path / "photo").write_bytes(data)
    with pytest.raises(UserError, match="photo is broken"):
        read_image(tmp_path / "photo", on_truncated=lambda: pytest.fail("it is not cut off"))


@pytest.mark.parametrize("left", [0, 100])
def test_a_file_cut_short_is_named(tmp_path, left):
    Image.fromarray(PICTURE).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:left])
    with pytest.raises(UserError, match=r"photo\.jpg is broken"):
        read_image(tmp_path / "photo.jpg")
