"""Reduced decoding and windows cut on the device: the same photos, windows, flips and boxes as the plain way gives."""

import random
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from spg_lightning import UserError, compose, train
from spg_lightning.config.build import build_data
from spg_lightning.data import ImageDataset, Records, collate, read_folder
from spg_lightning.data.device_augmentation import cut_windows
from spg_lightning.data.images import ImageFiles
from spg_lightning.data.transforms import Windows, resize_transform, train_transform
from tests.conftest import TINY
from tests.trees import photo_like, write_cub, write_folder

RESIZE, CROP, SEEDS = 72, 48, range(60)
BOXES = np.array([[40, 30, 200, 150], [0, 0, 30, 25], [290, 200, 320, 240]], dtype=float)  # two of them in corners


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Photos of 320 x 240 with three boxes each, and a mask of the first box."""
    folder = tmp_path_factory.mktemp("photos")
    mask = np.zeros((240, 320), np.uint8)
    mask[30:150, 40:200] = 255
    for i in range(3):
        Image.fromarray(photo_like((320, 240), i)).save(folder / f"{i}.jpg", quality=92)
        Image.fromarray(mask).save(folder / f"{i}.png")
    return Records(
        root=folder,
        images=[f"{i}.jpg" for i in range(3)],
        labels=np.arange(3),
        sizes=np.tile([320, 240], (3, 1)),
        boxes=np.tile(BOXES, (3, 1)),
        box_offsets=np.arange(0, 12, 3),
        class_names=("a", "b", "c"),
        masks=[(f"{i}.png",) for i in range(3)],
    )


def plain(records, index, seed):
    """What people write: Pillow, and albumentations with nothing of ours around it."""
    pipeline = A.Compose(
        [A.Resize(RESIZE, RESIZE), A.RandomCrop(CROP, CROP), A.HorizontalFlip(p=0.5)],
        bbox_params=A.BboxParams(format="pascal_voc", label_fields=["rows"], clip=True),
    )
    draws = random.Random(seed)  # one stream for all steps: `set_random_seed` would tie the flip to the window
    for step in pipeline.transforms:
        step.set_random_state(np.random.default_rng(seed), draws)
    with Image.open(records.root / records.images[index]) as photo:
        return pipeline(image=np.asarray(photo.convert("RGB")), bboxes=records.boxes_of(index), rows=[0, 1, 2])


def test_height_place_and_flip_of_a_window_are_independent():
    windows = Windows(RESIZE, CROP)
    drawn = np.array([windows(seed) for seed in range(4000)], dtype=float)
    apart = np.corrcoef(drawn.T)[np.triu_indices(3, 1)]
    assert np.abs(apart).max() < 0.07  # four standard errors of 4000 draws; one stream a step would give 0.87
    assert 0.46 < drawn[:, 2].mean() < 0.54
    assert (drawn.min(0)[:2] == 0).all()
    assert (drawn.max(0)[:2] == RESIZE - CROP).all()


def workers(records, **options):
    return ImageDataset(records, train_transform(RESIZE, CROP), "error", with_masks=True, **options)


def test_photos_from_files_are_exactly_the_plain_pipelines(records):
    dataset = workers(records)
    for seed in SEEDS:
        sample, expected = dataset[seed % 3, seed], plain(records, seed % 3, seed)
        assert np.array_equal(sample["image"].permute(1, 2, 0), expected["image"])
        assert np.allclose(sample["boxes"], np.asarray(expected["bboxes"]).reshape(-1, 4), atol=1e-4)


def test_windows_on_the_device_are_exactly_those_of_the_workers(records):
    one = workers(records)
    other = ImageDataset(records, resize_transform(RESIZE), "error", with_masks=True, windows=Windows(RESIZE, CROP))
    keys = [(seed % 3, seed) for seed in SEEDS]
    expected = collate([one[key] for key in keys])
    whole = collate([other[key] for key in keys])
    assert whole["image"].shape == (60, 3, RESIZE, RESIZE)
    got = cut_windows(whole, CROP)
    assert got["window"] is None
    assert torch.equal(got["image"], expected["image"])
    assert torch.equal(got["mask"], expected["mask"])
    for mine, theirs in zip(got["boxes"], expected["boxes"], strict=True):
        assert torch.allclose(mine, theirs, atol=1e-3)
    flips = [window.flip for window in whole["window"]]
    assert 10 < sum(flips) < 50
    assert len({window[:2] for window in whole["window"]}) > 20
    assert any(len(boxes) < 3 for boxes in expected["boxes"])  # some boxes were cut away


def test_boxes_and_masks_of_reduced_photos_are_those_of_the_photos_in_full(records):
    full, reduced = workers(records), workers(records, source=ImageFiles(records, RESIZE))
    assert ImageFiles(records, RESIZE)(0).shape == (120, 160, 3)
    for seed in SEEDS:
        one, other = full[seed % 3, seed], reduced[seed % 3, seed]
        assert torch.allclose(one["boxes"], other["boxes"], atol=1e-3)
        assert (one["mask"] != other["mask"]).float().mean() < 0.03  # the edge, by a pixel
        difference = (one["image"].int() - other["image"].int()).abs().float().mean()
        # full photos are thinned out without a blur, reduced ones are means: not the same pixels, the same picture
        assert 0 < difference < 15
        moved = (one["image"].roll(4, 2).int() - other["image"].int()).abs().float().mean()
        assert difference < moved


def test_without_boxes_the_picture_is_the_same(records):
    one, other = workers(records), workers(records, with_boxes=False)
    assert torch.equal(one[1, 5]["image"], other[1, 5]["image"])
    assert other[1, 5]["boxes"].shape == (0, 4)


def test_batches_lie_channels_last_in_memory_from_a_worker_to_the_device(records):
    for windows, transform in (
        (None, train_transform(RESIZE, CROP)),
        (Windows(RESIZE, CROP), resize_transform(RESIZE)),
    ):
        dataset = ImageDataset(records, transform, "error", with_masks=False, windows=windows)
        batch = next(iter(DataLoader(dataset, batch_size=3, num_workers=1, collate_fn=collate)))
        image = cut_windows(batch, CROP)["image"]
        assert image.shape == (3, 3, CROP, CROP)
        assert image.dtype == torch.uint8
        assert image.is_contiguous(memory_format=torch.channels_last)


def unique(process):
    """A process's own memory in MB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("masks", [False, True])
def test_a_workers_memory_is_flat_from_epoch_to_epoch(records, masks):
    dataset = ImageDataset(records.take(np.zeros(320, int)), resize_transform(128), "error", with_masks=masks)
    loader = DataLoader(dataset, batch_size=32, num_workers=1, collate_fn=collate, persistent_workers=True)
    used = []
    for _ in range(4):
        for _ in loader:
            pass
        used.append(unique(loader._iterator._workers[0].pid))
    assert used[-1] - used[0] < 8  # an epoch's batches are 16 MB of pixels, and 5 of masks


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("input") / "cub", size=(200, 160))


def run(cub, folder, *words):
    few = ["trainer.max_epochs=1", "gallery_images=0", "report_images=0"]
    return train(compose("train", [*TINY, *few, f"dataset.root={cub}", *words, f"output_dir={folder}"]))


def test_training_with_windows_on_the_device_gives_the_same_weights(cub, tmp_path):
    results = [run(cub, tmp_path / where, f"data.augment={where}") for where in ("workers", "device")]
    weights = [torch.load(r.checkpoint, weights_only=True)["state_dict"] for r in results]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert results[0].metrics == results[1].metrics


def test_reduced_decoding_is_for_training_photos_alone(cub, tmp_path, monkeypatch):
    asked = []
    original = ImageFiles.__call__

    def spy(self, index):
        photo = original(self, index)
        asked.append((self.at_least, photo.shape))
        return photo

    monkeypatch.setattr(ImageFiles, "__call__", spy)
    run(cub, tmp_path, "dataset.decode=reduced", "dataset.resize=64", "trainer.max_steps=1")
    assert (64, (80, 100, 3)) in asked
    assert {shape for at_least, shape in asked if at_least is None} == {(160, 200, 3)}
    assert {at_least for at_least, _ in asked} == {64, None}


@pytest.mark.parametrize("name", ["ilsvrc", "openimages", "cub", "folder", "benchmark", "toybirds"])
def test_which_data_sets_are_decoded_at_a_reduced_scale(name):
    cfg = compose("train", [f"dataset={name}", "output_dir=x"])
    assert cfg.data.decode == ("reduced" if name in ("ilsvrc", "openimages") else "full")


def test_a_turned_photo_keeps_its_box_on_every_way(tmp_path):
    folder = write_folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.full((240, 320, 3), 30, np.uint8)
    picture[60:180, 200:280] = 220  # as stored; as seen, 240 x 320: columns 60 to 180, rows 200 to 280
    Image.fromarray(picture).save(folder / "train/cat/0.jpg", exif=exif, quality=95)
    (folder / "boxes.csv").write_text("train/cat/0.jpg,60,200,180,280\n")
    records = read_folder(str(folder), None, "auto", {"train": 0.7, "test": 0.3}, 0, "boxes.csv", True, None).train
    for at_least in (None, RESIZE):
        sample = ImageDataset(
            records, resize_transform(RESIZE), "error", with_masks=False, source=ImageFiles(records, at_least)
        )[0]
        bright = sample["image"][0] > 125
        rows, columns = torch.where(bright.any(1))[0], torch.where(bright.any(0))[0]
        found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(sample["boxes"][0].numpy() - np.array(found)).max() <= 1


@pytest.mark.parametrize(("key", "value"), [("decode", "half"), ("augment", "gpu")])
def test_choices_that_are_none(key, value, cub):
    with pytest.raises(UserError, match=f"data.{key}={value}: choose "):
        build_data(compose("train", [*TINY, f"dataset.root={cub}", f"data.{key}={value}", "output_dir=x"]))
