"""experiment=photos on folders as people have them: few photos, grey ones, photos without the object."""

import json

import numpy as np
import pytest
from PIL import Image

from spg_lightning import UserError, compose, train

SMALL = (
    "experiment=photos", "training_free.image_side=64", "training_free.side=16", "training_free.refine.side=32",
    "refine.pamr.side=32", "dataset.resize=36", "dataset.crop=32", "dataset.max_epochs=1", "min_train_steps=3",
    "data.num_workers=0", "gallery_images=2", "report_images=1", "callbacks.progress=null",
)  # fmt: skip


def write(root, classes=2, photos=20, mode="RGB", with_object=True):
    draw = np.random.default_rng(0)
    for number in range(classes):
        for k in range(photos):
            pixels = draw.integers(90, 110, (48, 64, 3)).astype(np.uint8)
            if with_object:
                pixels[10:30, 20:44] = draw.integers(0, 255, 3)
            path = root / f"class{number}" / f"{k}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).convert(mode).save(path)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))


def run(root, folder, *overrides):
    return train(compose("train", [*SMALL, f"dataset.root={root}", f"output_dir={folder}", *overrides]))


@pytest.mark.parametrize(
    "tree", [{"mode": "L"}, {"with_object": False}, {"photos": 4}], ids=["grey", "without the object", "four a class"]
)
def test_a_run_ends_with_boxes_and_no_empty_table(tmp_path, capsys, tree):
    result = run(write(tmp_path / "photos", **tree), tmp_path / "run")
    assert result.evaluation.pseudo_boxes == "feature_norm"
    assert 0 < result.evaluation.threshold < 1
    for image in result.evaluation.images:
        x0, y0, x1, y1 = image.box
        assert 0 <= x0 < x1 <= 64
        assert 0 <= y0 < y1 <= 48
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test/num_images"] == len(result.evaluation.images)
    assert "localization is not measured" in capsys.readouterr().out


def test_fewer_photos_than_a_batch_are_one_batch(tmp_path, caplog):
    caplog.set_level("INFO")
    result = run(write(tmp_path / "photos", photos=4), tmp_path / "run")
    assert "batches of 4, not 16: there are no more training images" in caplog.text
    assert "3 epochs instead of 1" in caplog.text
    assert result.metrics["test/num_images"] == 2


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"classes": 1},
            "has the one class class0; a classifier needs at least two: add a folder of photos without it",
        ),
        ({"photos": 2}, "4 images leave none for val; add images, or give val a larger fraction"),
    ],
)
def test_too_little_has_a_line(tmp_path, tree, message):
    with pytest.raises(UserError, match=message):
        run(write(tmp_path / "photos", **tree), tmp_path / "run")
