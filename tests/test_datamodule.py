"""The data module: ground truth travels in the batch, and augmentation of any kind resumes exactly."""

import cv2
import numpy as np
import pytest
import torch

from spg_lightning.config.build import build_data
from spg_lightning.config.compose import compose
from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import scale_boxes
from tests.conftest import TINY
from tests.trees import write_cub


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("datamodule") / "cub", per_class=12)


def data_of(folder, *words):
    keys = {word.split("=")[0] for word in words}
    tiny = [word for word in TINY if word.split("=")[0] not in keys]
    data = build_data(compose("train", [*tiny, f"dataset.root={folder}", *words, "output_dir=x"]))
    data.setup()
    return data


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_batches_hold_ids_and_boxes_in_the_networks_frame(folder, split, workers):
    data = data_of(folder, f"data.num_workers={workers}", "data.eval_batch_size=5")
    records, seen = data.records[split], []
    for batch in getattr(data, f"{split}_dataloader")():
        sent = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
        sent = data.on_after_batch_transfer(sent, 0)
        rows = sent["index"].tolist()
        assert sent["image_id"] == [records.images[row] for row in rows]
        assert len(sent["true_boxes"]) == len(rows)
        for row, boxes in zip(rows, sent["true_boxes"], strict=True):
            assert boxes.dtype == np.int64
            expected = scale_boxes(records.boxes_of(row), tuple(records.sizes[row].tolist()), (64, 64))
            assert len(boxes)
            assert np.array_equal(boxes, expected)
            assert np.array_equal(boxes, data.ground_truth(split, [row])[0])
        seen += rows
    assert sorted(seen) == list(range(len(records)))


def test_workers_start_after_opencv_used_its_threads(folder):
    """A forked worker that touches an inherited thread pool hangs, for example in a notebook that trains after drawing."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (9, 9), 2)
        batch = next(iter(data_of(folder, "data.num_workers=1", "data.worker_timeout=30").test_dataloader()))
    finally:
        cv2.setNumThreads(before)
    assert len(batch["index"])


def test_a_skipped_image_takes_its_boxes_with_it(tmp_path):
    folder = write_cub(tmp_path / "cub", per_class=12)
    data = data_of(folder, "data.on_corrupt_image=skip")
    records = data.records["test"]
    path = records.root / records.images[1]
    path.write_bytes(path.read_bytes()[:-200])
    batch = next(iter(data.test_dataloader()))
    assert batch["index"].tolist() == [row for row in range(len(records)) if row != 1][: len(batch["index"])]
    assert batch["image_id"] == [records.images[row] for row in batch["index"].tolist()]
    for row, boxes in zip(batch["index"].tolist(), batch["true_boxes"], strict=True):
        assert np.array_equal(boxes, data.ground_truth("test", [row])[0])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_truncated_images_are_counted_over_loader_processes_and_epochs(tmp_path, num_workers):
    data = data_of(write_cub(tmp_path / "cub"), f"data.num_workers={num_workers}", "dataset.batch_size=1")
    paths = [data.records[split].root / data.records[split].images[2] for split in ("train", "test")]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-200])
    assert data.truncated_images() == []
    loaders = data.train_dataloader(), data.test_dataloader()
    seen = [sum(len(batch["index"]) for loader in loaders for batch in loader) for _ in range(2)]
    assert seen[0] == seen[1] == sum(len(data.records[split]) for split in ("train", "test"))
    assert data.truncated_images() == paths


@pytest.mark.parametrize("augment", ["workers", "device"])
def test_training_batches_hold_ids_and_no_boxes(folder, augment):
    data = data_of(folder, f"data.augment={augment}")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["image_id"] == [data.records["train"].images[row] for row in batch["index"].tolist()]
    assert [boxes.shape for boxes in batch["true_boxes"]] == [(0, 4)] * 4


@pytest.mark.parametrize("name", ["paper", "none", "color", "resized_crop", "torchvision"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_and_other_workers_give_the_same_images(folder, name, workers):
    whole = list(data_of(folder, f"augmentation={name}").train_dataloader())
    resumed = data_of(folder, f"augmentation={name}", f"data.num_workers={workers}")
    resumed.fast_forward(epoch=0, batch=1)
    rest = list(resumed.train_dataloader())
    assert len(rest) == len(whole) - 1 > 1
    for one, two in zip(whole[1:], rest, strict=True):
        assert torch.equal(one["image"], two["image"])
        assert one["image_id"] == two["image_id"]


def test_without_an_augmentation_training_sees_the_papers(folder):
    """Checkpoints from before this key have none."""
    written, default = data_of(folder), data_of(folder, "data.augmentation=null")
    for one, two in zip(written.train_dataloader(), default.train_dataloader(), strict=True):
        assert torch.equal(one["image"], two["image"])


@pytest.mark.parametrize("name", ["none", "color", "resized_crop", "torchvision"])
def test_the_device_refuses_another_augmentation_than_the_papers(folder, name):
    with pytest.raises(UserError, match=r"^data\.augment=device only supports augmentation=paper; .*augment=workers$"):
        data_of(folder, f"augmentation={name}", "data.augment=device")


def test_an_augmentation_of_another_size_is_refused_before_training(cli, folder, tmp_path):
    words = [*TINY, f"dataset.root={folder}", "augmentation=none", "augmentation.steps.0.height=32"]
    outcome = cli("train", *words, f"output_dir={tmp_path / 'run'}")
    assert outcome.code == 1
    assert "augmentation gives 32 x 64 x 3" in outcome.line
    assert "dataset.crop=64" in outcome.line
