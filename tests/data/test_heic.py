"""HEIC photos: read with pillow-heif, named with the way out without it."""

import sys

import numpy as np
import pytest

from spg_lightning.data import heic, read_folder, read_image
from spg_lightning.data.records import drop_image_extension
from spg_lightning.data.validation.image_sizes import size_of
from spg_lightning.errors import UserError
from spg_lightning.predicting.inputs import find_images
from spg_lightning.predicting.loading import ImageFrames
from tests.trees import photo_like, write_folder

WAY_OUT = r"is a HEIC photo: pip install 'spg-lightning\[heic\]'"


@pytest.fixture
def photo(tmp_path):
    """A HEIC photo in a folder of others, and its pixels."""
    pillow_heif = pytest.importorskip("pillow_heif")
    folder = write_folder(tmp_path / "photos")
    pixels = photo_like((60, 40), 0)
    path = folder / "train" / "cat" / "phone.HEIC"
    pillow_heif.from_bytes("RGB", (60, 40), pixels.tobytes()).save(path, quality=95)
    return path, pixels


@pytest.fixture
def no_pillow_heif(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic._can_open_heic.cache_clear()
    yield
    heic._can_open_heic.cache_clear()


def read(folder):
    return read_folder(str(folder), None, "auto", {}, 0, None, True, None)


def test_is_read_like_other_photos(photo):
    path, pixels = photo
    assert np.abs(read_image(path).astype(int) - pixels).mean() < 8
    assert size_of(path, True) == (60, 40)
    assert drop_image_extension("train/cat/phone.HEIC") == "train/cat/phone"
    root = path.parents[2]
    assert "train/cat/phone.HEIC" in read(root).train.images
    assert path in find_images(str(root))


def test_is_named_without_pillow_heif(photo, no_pillow_heif):
    path, root = photo[0], photo[0].parents[2]
    with pytest.raises(UserError, match=f"phone.HEIC {WAY_OUT}"):
        read_image(path)
    with pytest.raises(UserError, match=f"phone.HEIC {WAY_OUT}"):
        read(root)
    frames = ImageFrames(find_images(str(root)), 32, 0, "full")
    errors = [frames[index].error for index in range(len(frames))]
    (error,) = filter(None, errors)
    assert error.startswith(f"{path} is a HEIC photo")
    assert len(errors) == 25  # the others are predicted
