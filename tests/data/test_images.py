"""Samples: geometry that boxes and masks follow, and photos that are broken."""

import logging

import numpy as np
import pytest
import torch

from spg_lightning.data import ImageDataset, collate, read_cub
from spg_lightning.data.transforms import test_transform as whole_photo
from spg_lightning.data.transforms import train_transform
from spg_lightning.errors import UserError
from tests.trees import write_cub


@pytest.fixture
def records(tmp_path):
    return read_cub(str(write_cub(tmp_path / "cub", segmentations=True))).train


def coloured(sample):
    """Return the box of the pixels that are the object's: bright in one channel."""
    bright = sample["image"].amax(0) > 140
    rows, columns = torch.where(bright.any(1))[0], torch.where(bright.any(0))[0]
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def test_boxes_and_masks_follow_resize_crop_and_flip(records):
    dataset = ImageDataset(records, train_transform(120, 100), "error", with_masks=True)
    dataset.transform.set_random_seed(0)
    for index in [*range(len(dataset))] * 3:
        sample = dataset[index]
        assert sample["image"].shape == (3, 100, 100)
        assert sample["image"].dtype == torch.uint8
        box = sample["boxes"][0].tolist()
        assert np.abs(np.array(box) - coloured(sample)).max() <= 3  # JPEG and interpolation blur the edge
        inside = torch.zeros(100, 100, dtype=torch.bool)
        x0, y0, x1, y1 = (round(c) for c in box)
        inside[y0:y1, x0:x1] = True
        assert (inside ^ (sample["mask"] == 1)).float().mean() < 0.05


def test_evaluation_sees_the_whole_photo(records):
    sample = ImageDataset(records, whole_photo(80), "error", with_masks=False)[0]
    scale = np.array([80 / 60, 80 / 40] * 2)
    assert sample["boxes"][0].numpy() == pytest.approx(records.boxes_of(0)[0] * scale, abs=1e-3)
    assert sample["mask"] is None


def truncate(records, index):
    path = records.root / records.images[index]
    path.write_bytes(path.read_bytes()[:-200])
    return path


def test_a_broken_photo_is_named_and_skipped(records, caplog):
    path = truncate(records, 1)
    dataset = ImageDataset(records, whole_photo(32), "skip", with_masks=False)
    with caplog.at_level(logging.WARNING):
        batch = collate([dataset[i] for i in range(3)])
    assert batch["index"].tolist() == [0, 2]
    assert str(path) in caplog.text
    assert collate([None, None]) is None


def test_a_broken_photo_stops_where_asked(records):
    path = truncate(records, 1)
    with pytest.raises(UserError, match=f"{path.name} is broken.*on_corrupt_image=skip"):
        ImageDataset(records, whole_photo(32), "error", with_masks=False)[1]
