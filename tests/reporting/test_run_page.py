"""The report page of a run: with boxes and without, and on a phone."""

import base64
import re
from dataclasses import replace
from io import BytesIO
from math import nan

import numpy as np
import pytest
import torch
from PIL import Image

from spg_lightning.data.records import Records
from spg_lightning.evaluation.results import Evaluation, ImageResult
from spg_lightning.localization.metrics import LocalizationMetric, summarize
from spg_lightning.reporting.run_page import Picture, write_evaluation

SIZES = [(400, 100), (100, 500), (90, 60), (60, 90), (80, 80)]  # width and height
BOX = np.array([[2, 2, 6, 6]])
NONE = np.zeros((0, 4), np.int64)
CLASSES = ("001.Groove_billed_Ani", "002.Wren")


def evaluation_of(boxes, masks=None):
    """Return an evaluation of two maps on a photo of each size."""
    count, maps = len(SIZES), torch.rand(len(SIZES), 10, 10, generator=torch.Generator().manual_seed(0))
    metric = LocalizationMetric(50)
    right = torch.ones(count, dtype=torch.bool)
    metric.update(maps, [boxes] * count, right, right, masks)
    counts = metric.compute()
    numbers = summarize(counts, counts)
    images = tuple(
        ImageResult(
            "test",
            "c",
            k,
            f"test/{k}",
            CLASSES[0],
            CLASSES[k % 2],
            0.5,
            (0.0, 0.0, w / 2, h / 2),
            (),
            k / 10 if len(boxes) else nan,
        )
        for k, (w, h) in enumerate(SIZES)
    )
    per_map = {name: {f"test/{key}": value for key, value in numbers.items()} for name in ("attention", "c")}
    curves = {split: {"attention": counts, "c": counts} for split in ("val", "test")}
    return Evaluation("c", {"attention": 0.3, "c": 0.3}, per_map, {}, curves, (10, 10), images)


def write(folder, evaluation, boxes=NONE, count=8):
    """Write the run folder; return the page."""
    sizes, n = np.array(SIZES), len(boxes)
    records = Records(
        folder, [f"test/{k}.jpg" for k in range(len(SIZES))], np.zeros(len(SIZES), int), sizes,
        np.tile(boxes, (len(SIZES), 1)).astype(float), np.arange(len(SIZES) + 1) * n, CLASSES,
    )  # fmt: skip
    facts = {"versions": {"spg-lightning": "0"}, "commit": "", "started": "now", "command": ["train.py"]}
    picture = Picture(np.full((10, 10), 0.5, np.float32), np.full((50, 50, 3), 90, np.uint8))
    write_evaluation(folder / "metrics.json", evaluation, facts, "folder / spg", records, lambda index: picture, count)
    return (folder / "report.html").read_text()


def test_without_boxes_there_is_no_table_no_curve_and_no_truth(tmp_path):
    page = write(tmp_path, evaluation_of(NONE))
    assert "localization is not measured" in page
    assert page.count("<img") == len(SIZES)
    for absent in ("<table", "<svg", "Curves", "ground truth", "IoU", "curves.png"):
        assert absent not in page, absent
    assert not (tmp_path / "curves.png").exists()


def test_an_earlier_evaluations_plot_does_not_stay(tmp_path):
    write(tmp_path, evaluation_of(BOX), BOX)
    write(tmp_path, evaluation_of(NONE))
    assert not (tmp_path / "curves.png").exists()


def test_with_boxes_there_are_table_curves_and_truth(tmp_path):
    page = write(tmp_path, evaluation_of(BOX), BOX)
    assert page.count("<svg") == 2
    for present in ("<table", "ground truth", "IoU 0.40", "curves.png"):
        assert present in page, present
    assert Image.open(tmp_path / "curves.png").width > 1000


@pytest.mark.parametrize(("count", "worst", "best"), [(8, [0, 1], [4, 3, 2]), (1, [0], [4]), (2, [0, 1], [4, 3])])
def test_worst_and_best_share_no_image(tmp_path, count, worst, best):
    page = write(tmp_path, evaluation_of(BOX), BOX, count)
    groups = [[int(name) for name in re.findall(r'alt="test/(\d)"', part)] for part in page.split("<h2>Best")]
    assert groups == [worst, best]


def test_images_without_boxes_are_not_counted_among_the_worst_and_best(tmp_path):
    evaluation = evaluation_of(BOX)
    images = [replace(result, iou=nan) if k < 2 else result for k, result in enumerate(evaluation.images)]
    page = write(tmp_path, replace(evaluation, images=tuple(images)), BOX)
    assert "Worst 1 of 3 images with boxes" in page
    assert "Best 2 of 3 images with boxes" in page


def test_pictures_keep_the_proportions_of_their_photos(tmp_path):
    page = write(tmp_path, evaluation_of(NONE))
    urls = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    for url, (width, height) in zip(urls, SIZES, strict=True):
        picture = Image.open(BytesIO(base64.b64decode(url)))
        assert max(picture.size) == 360
        assert picture.width / picture.height == pytest.approx(width / height, rel=0.01)


@pytest.mark.parametrize("boxes", [BOX, NONE], ids=["boxes", "no boxes"])
def test_a_phone_shows_the_page_without_scrolling_sideways(browser, tmp_path, boxes):
    masks = [torch.randint(0, 2, (10, 10), dtype=torch.int8) for _ in SIZES] if len(boxes) else None
    write(tmp_path, evaluation_of(boxes, masks), boxes)
    context = browser.new_context(viewport={"width": 390, "height": 800})
    tab = context.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    # a third of a phone's width, at least: boxes are seen; a plot's letters are read
    assert all(box["width"] > 130 for box in (one.bounding_box() for one in tab.locator("img").all()))
    assert all(box["width"] > 300 for box in (one.bounding_box() for one in tab.locator(".plots svg").all()))
    assert tab.evaluate("[...document.querySelectorAll('.wide')].every(one => one.scrollWidth <= one.clientWidth)")
    assert tab.locator(".plots svg").count() == (3 if len(boxes) else 0)
    assert tab.evaluate("getComputedStyle(document.querySelector('img')).objectFit") == "contain"
    context.close()
