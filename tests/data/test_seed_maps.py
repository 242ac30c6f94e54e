"""Seed masks: thresholds, rounds, and that they follow crops and flips like the image."""

import numpy as np
import pytest
import torch

from spg_lightning.config.build import build_data
from spg_lightning.config.compose import compose
from spg_lightning.data.images import SampleKey
from spg_lightning.data.seed_maps import BACKGROUND, FOREGROUND, IGNORED, SeedMaps
from spg_lightning.data.stored_maps import MapArray, MapFiles, to_levels, write_maps
from tests.conftest import TINY
from tests.trees import write_cub


def write(path, maps):
    write_maps(path, to_levels(np.asarray(maps)))
    return MapArray(path)


def test_thresholds_are_fractions_of_the_range(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 11), (11, 1))
    seeds = SeedMaps([write(tmp_path / "0.npy", [ramp])], [0], high=0.65, low=0.25)
    mask = seeds.mask(0, (11, 11), epoch=3)
    assert mask[0].tolist() == [BACKGROUND] * 3 + [IGNORED] * 4 + [FOREGROUND] * 4
    assert seeds.mask(0, (30, 20), epoch=0).shape == (20, 30)


def test_epochs_select_the_round(tmp_path):
    write_maps(tmp_path / "maps/one.npy", np.full((4, 4), 255))
    rounds = [MapFiles(tmp_path / "maps", ["one"], 4), write(tmp_path / "1.npy", np.zeros((1, 4, 4)))]
    seeds = SeedMaps(rounds, [0, 2], high=0.6, low=0.3)
    assert [int(seeds.mask(0, (4, 4), epoch).max()) for epoch in (0, 1, 2, 5)] == [1, 1, 0, 0]
    missing = SeedMaps([MapArray(tmp_path / "none.npy", patience=0)], [0], 0.6, 0.3)
    with pytest.raises(FileNotFoundError, match=r"none\.npy does not exist"):
        missing.mask(0, (4, 4), 0)


@pytest.mark.parametrize("augment", ["workers", "device"])
@pytest.mark.parametrize("workers", [0, 1])
def test_masks_follow_crops_and_flips(tmp_path, augment, workers):
    """The seed map of each image is its own red channel: after any crop and flip, mask and image still agree."""
    import cv2

    folder = write_cub(tmp_path / "cub", per_class=6)
    overrides = [*(word for word in TINY if "num_workers" not in word), f"dataset.root={folder}", "output_dir=x"]
    data = build_data(compose("train", [*overrides, f"data.augment={augment}", f"data.num_workers={workers}"]))
    data.setup()
    records, maps = data.records["train"], []
    draw = np.random.default_rng(0)
    for index in range(len(records)):
        pattern = cv2.resize(
            draw.integers(0, 2, (6, 6)).astype(np.uint8) * 255, (72, 72), interpolation=cv2.INTER_NEAREST
        )
        path = (records.root / records.images[index]).with_suffix(".jpg")
        cv2.imwrite(str(path), np.dstack([pattern] * 3), [cv2.IMWRITE_JPEG_QUALITY, 100])
        maps.append(pattern / 255)
    data.seeds = SeedMaps([write(tmp_path / "seeds.npy", maps)], [0], high=0.6, low=0.3)
    seen = 0
    for batch in data.train_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        assert batch["mask"].shape == (4, 64, 64)
        bright = batch["image"][:, 0] > 127
        decided = batch["mask"] != IGNORED
        agree = ((batch["mask"] == FOREGROUND) == bright)[decided].float().mean()
        assert agree > 0.97
        seen += len(bright)
    assert seen
    dataset = data.train_dataset()
    one, other = dataset[SampleKey(0, 7, 0)], dataset[SampleKey(0, 7, 0)]
    assert torch.equal(one["mask"], other["mask"])


def test_evaluation_keeps_the_true_masks(tmp_path):
    folder = write_cub(tmp_path / "cub", per_class=6, segmentations=True)
    data = build_data(compose("train", [*TINY, f"dataset.root={folder}", "output_dir=x"]))
    data.setup()
    before = data.dataset("test")[0]["mask"]
    data.seeds = SeedMaps([write(tmp_path / "seeds.npy", np.ones((50, 4, 4)))], [0], 0.6, 0.3)
    assert torch.equal(data.dataset("test")[0]["mask"], before)
