"""The fast decoder: the same pixels as Pillow's, the same word on every strange file, and reduced pictures that are right."""

import io

import numpy as np
import pytest
from PIL import Image

from spg_lightning.data import decode, jpeg, read_image
from spg_lightning.errors import UserError
from tests.trees import photo_like

SIZES = [(500, 375), (375, 500), (33, 47), (8, 8), (1, 1)]


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, "JPEG", **options)
    return path


def pillow(path, apply_exif_orientation):
    """What the plain way gives: pixels, or the error's line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "read_jpeg", lambda *_: None)
        return outcome(path, apply_exif_orientation)


def outcome(path, apply_exif_orientation=False, at_least=None):
    try:
        return read_image(path, apply_exif_orientation, at_least)
    except UserError as error:
        return str(error)


def same(one, other):
    return one == other if isinstance(one, str) or isinstance(other, str) else np.array_equal(one, other)


@pytest.mark.parametrize(
    "options", [{"subsampling": k} for k in (0, 1, 2)] + [{"progressive": True}, {"optimize": True}]
)
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_pillows(tmp_path, size, options):
    path = save(tmp_path / "a.jpg", photo_like(size, 0), quality=90, **options)
    assert jpeg.read_jpeg(path, False, None) is not None
    assert np.array_equal(read_image(path), np.asarray(Image.open(path)))


def stored_as_rgb(path):
    Image.fromarray(photo_like((60, 40), 1)).save(path, "JPEG", quality=90, keep_rgb=True)


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path, photo_like((60, 40), 1), exif=exif)


def cut(path, left):
    save(path, photo_like((60, 40), 1))
    path.write_bytes(path.read_bytes()[:left])


def hole(path):
    """The middle is gone, the end is there."""
    data = save(path, photo_like((120, 90), 1)).read_bytes()
    path.write_bytes(data[: len(data) // 2] + data[-40:])


def zeros(path):
    """A file whose room was taken, and whose content never came."""
    data = save(path, photo_like((120, 90), 1)).read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def more_after_the_end(path):
    path.write_bytes(save(path, photo_like((60, 40), 1)).read_bytes() + b"made by a camera")


def two_pictures(path):
    pictures = [Image.fromarray(photo_like((60, 40), seed)) for seed in (1, 2)]
    pictures[0].save(path, "MPO", save_all=True, append_images=pictures[1:])


def grey(path):
    save(path, photo_like((60, 40), 1)[..., 0])


def cmyk(path):
    Image.fromarray(photo_like((60, 40), 1)).convert("CMYK").save(path, "JPEG")


def bomb(path):
    """A header that promises 60000 x 60000 pixels."""
    data = save(path, photo_like((60, 40), 1)).read_bytes()
    at = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:at] + (60000).to_bytes(2, "big") * 2 + data[at + 4 :])


STRANGE = {
    "RGB, not YCbCr": stored_as_rgb,
    "turned by EXIF": turned,
    "no bytes": lambda p: p.write_bytes(b""),
    "two bytes": lambda p: p.write_bytes(b"\xff\xd8"),
    "only start and end": lambda p: p.write_bytes(b"\xff\xd8\xff\xd9"),
    "cut in the header": lambda p: cut(p, 100),
    "cut in the pixels": lambda p: cut(p, -300),
    "end mark cut off": lambda p: cut(p, -2),
    "a hole": hole,
    "zeros": zeros,
    "more after the end": more_after_the_end,
    "two pictures": two_pictures,
    "grey": grey,
    "CMYK": cmyk,
    "bomb": bomb,
    "a folder": lambda p: p.mkdir(),
    "a link to itself": lambda p: p.symlink_to(p),
    "missing": lambda p: None,
    "PNG": lambda p: Image.fromarray(photo_like((60, 40), 1)).save(p, "PNG"),
}
BROKEN = {"no bytes", "two bytes", "only start and end", "cut in the header", "cut in the pixels", "bomb", "a folder"}
BROKEN |= {"a link to itself", "missing", "zeros", "end mark cut off"}


@pytest.mark.parametrize("apply_exif_orientation", [False, True])
@pytest.mark.parametrize("name", STRANGE)
def test_strange_files_get_pillows_word(tmp_path, name, apply_exif_orientation):
    path = tmp_path / "a.jpg"
    STRANGE[name](path)
    expected = pillow(path, apply_exif_orientation)
    for at_least in (None, 1000):
        assert same(outcome(path, apply_exif_orientation, at_least), expected)
    assert isinstance(expected, str) == (name in BROKEN)
    if name in BROKEN:
        assert isinstance(outcome(path, apply_exif_orientation, 4), str)
        assert "\n" not in expected


def test_a_turned_photo_is_turned_and_only_that(tmp_path):
    turned(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg", apply_exif_orientation=True).shape == (60, 40, 3)
    assert read_image(tmp_path / "a.jpg", apply_exif_orientation=False).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("size", "at_least", "factor"),
    [
        ((500, 375), 256, 1),
        ((512, 512), 256, 2),
        ((511, 600), 256, 1),
        ((1024, 768), 256, 2),
        ((2048, 1536), 256, 4),
        ((4000, 3000), 256, 8),
        ((9000, 8000), 256, 8),
        ((513, 700), 256, 2),
        ((100, 80), 256, 1),
        ((4000, 3000), None, 1),
    ],
)
def test_no_side_falls_below_what_is_needed(size, at_least, factor):
    assert jpeg.reduction(size, at_least) == factor
    if factor > 1:
        assert min(size) / factor >= at_least
    if at_least is not None and factor < 8:
        assert min(size) // (2 * factor) < at_least


@pytest.mark.parametrize("at_least", [24, 50, 99, 100])
def test_a_reduced_photo_shows_the_same(at_least):
    pixels = photo_like((401, 300), 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    factor = jpeg.reduction((401, 300), at_least)
    small = jpeg.decode_jpeg(buffer.getvalue(), False, at_least)
    assert small.shape == (-(-300 // factor), -(-401 // factor), 3)
    whole = np.asarray(Image.fromarray(pixels).reduce(factor)).astype(int)
    assert np.abs(small.astype(int) - whole).mean() < 2.5  # of 255: means of factor x factor pixels
