"""Ten-crop class scores against a slow reference, and what they change in an evaluation."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.data.images import ImageFiles
from spg_lightning.data.readers.cub import read_cub
from spg_lightning.errors import UserError
from spg_lightning.evaluation.ten_crop import TenCrop

RESIZE, CROP = 72, 64  # of the tiny run


def reference(network, path):
    """Return the mean probabilities of one image, crop after crop, from the definition."""
    image = cv2.resize(np.asarray(Image.open(path).convert("RGB")), (RESIZE, RESIZE))
    far, middle = RESIZE - CROP, (RESIZE - CROP) // 2
    total = 0.0
    for top, left in ((0, 0), (0, far), (far, 0), (far, far), (middle, middle)):
        window = image[top : top + CROP, left : left + CROP]
        for crop in (window, window[:, ::-1]):
            pixels = (crop.astype(np.float32) - 255 * np.float32(network.stem.mean)) / (
                255 * np.float32(network.stem.std)
            )
            with torch.no_grad():
                logits = network(torch.from_numpy(pixels.transpose(2, 0, 1))[None], ()).logits[0].double().numpy()
            total = total + np.exp(logits) / np.exp(logits).sum()
    return total / 10


@pytest.fixture(scope="module")
def network(tiny_run):
    return load_network(tiny_run[0].checkpoint)[0].eval()


@pytest.fixture(scope="module")
def records(tiny_run):
    return read_cub(tiny_run[1]).test


def test_equals_the_reference(network, records):
    ids = [*records.images]
    expected = np.stack([reference(network, records.root / image) for image in records.images])
    scores = TenCrop(network, ImageFiles(records), RESIZE, CROP)
    assert np.allclose(scores.probabilities(ids[::-1]).numpy(), expected[::-1], atol=1e-5)
    ranked = scores(torch.zeros(len(ids), 3, CROP, CROP, dtype=torch.uint8), ids)
    assert (ranked.numpy() == np.argsort(-expected, axis=1)[:, :5]).all()


def test_only_class_scores_change(tiny_run, network, records, cli, tmp_path):
    expected = np.stack([reference(network, records.root / image) for image in records.images])
    given = (
        f"checkpoint={tiny_run[0].checkpoint}",
        f"root={tiny_run[1]}",
        "num_workers=0",
        "gallery_images=0",
        "accelerator=cpu",
    )
    done = cli("evaluate", *given, "num_thresholds=50", "crops=10", f"output_dir={tmp_path}/ten")
    assert done.code == 0, done.err
    assert "class scores: mean over 10 crops" in " ".join(done.out.split())
    assert "class scores: mean over 10 crops" in (tmp_path / "ten/report.html").read_text()
    assert json.loads((tmp_path / "ten/provenance.json").read_text())["crops"] == 10
    ten = json.loads((tmp_path / "ten/metrics.json").read_text())
    error = 100 * (expected.argmax(1) != records.labels).mean()
    assert ten["test/cls_top1_error"] == pytest.approx(error)
    own = tiny_run[0].metrics
    same = {key for key in own if not key.startswith("test/") or not ("cls_" in key or "loc_" in key)}
    assert {key: ten[key] for key in same} == pytest.approx({key: own[key] for key in same})


def test_mistakes(network, records, cli, tmp_path):
    with pytest.raises(UserError, match="crops=10: images of 64 pixels have no corners of 64"):
        TenCrop(network, ImageFiles(records), CROP, CROP)
    assert "crops=5: choose 10" in cli("evaluate", "checkpoint=x", "crops=5").line
    assert "leave out classifier= or crops=" in cli("evaluate", "checkpoint=x", "crops=10", "classifier=resnet18").line
    assert "crops=10 is for checkpoint=..." in cli("evaluate", "maps=x", "metadata=y", "crops=10").line
