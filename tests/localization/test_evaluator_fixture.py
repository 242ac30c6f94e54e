"""The benchmark's own numbers on its own format of ground truth."""

import json

import numpy as np
import pytest

from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.data.readers.benchmark_metadata import read_benchmark
from spg_lightning.localization import pixel_average_precision, pixel_histograms, scale_boxes, scan_thresholds
from spg_lightning.localization.pixel_metrics import histogram_edges
from spg_lightning.localization.threshold_scan import default_thresholds
from tests.conftest import SHARED

pytestmark = pytest.mark.shared
FOLDER = SHARED / "fixtures" / "evaluator"


def rows(file):
    return [line.split(",") for line in (FOLDER / file).read_text().split()]


@pytest.fixture(scope="module")
def maps():
    return dict(np.load(FOLDER / "score_maps.npz"))


@pytest.fixture(scope="module")
def scans(maps):
    sizes = {name: (int(w), int(h)) for name, w, h in rows("metadata/image_sizes.txt")}
    truth: dict[str, list] = {}
    for name, *corners in rows("metadata/localization.txt"):
        truth.setdefault(name, []).append([float(c) for c in corners])
    return {
        name: scan_thresholds(maps[name], scale_boxes(np.array(truth[name]), sizes[name], (224, 224))) for name in maps
    }


def test_every_integer(scans):
    expected = json.loads((FOLDER / "expected_boxes.json").read_text())
    for case, numbers in expected.items():
        step, contours = (part.split("=")[1] for part in case.split(","))
        thresholds = np.arange(0, 1, float(step))
        for iou, counts in numbers["num_correct"].items():
            ours = np.zeros(len(thresholds), int)
            for found in scans.values():
                best = found.largest_iou if contours == "largest" else found.all_iou
                ours += best[found.levels(thresholds)] >= int(iou) / 100
            assert ours.tolist() == counts, (case, iou)
            assert 100 * ours.max() / len(scans) == numbers["max_box_acc"][iou]


def test_every_largest_box(scans):
    expected = json.loads((FOLDER / "expected_largest_boxes_step_0.01.json").read_text())
    thresholds = np.arange(0, 1, 0.01)
    assert len(expected) == 16
    for name, boxes in expected.items():
        found = scans[name]
        assert found.largest_box[found.levels(thresholds)].tolist() == boxes, name


def test_pixel_average_precision(maps):
    edges = histogram_edges(default_thresholds())
    counts = np.zeros((2, len(edges) - 1), int)
    records = read_benchmark(FOLDER / "metadata_masks", FOLDER / "masks")
    for i, name in enumerate(records.images):
        counts += pixel_histograms(maps[name], read_ternary_mask(records, i, (224, 224)), edges)
    expected = json.loads((FOLDER / "expected_pxap.json").read_text())["pxap"]
    assert pixel_average_precision(counts) == pytest.approx(expected, abs=1e-9)
