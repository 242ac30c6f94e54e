"""What is chosen, on which part."""

import numpy as np
import pytest
import torch

from spg_lightning.evaluation.results import DEFAULT_THRESHOLD, compute_evaluation, validation_numbers
from spg_lightning.localization.metrics import CRITERIA, LocalizationMetric
from spg_lightning.reporting.tables import chosen_by, result_table, scored_on

SQUARE = np.array([[2, 2, 6, 6]])
NONE = np.zeros((0, 4), dtype=np.int64)
RIGHT = torch.ones(4, dtype=torch.bool)


def counted(boxes, seed=0):
    """Curves of two maps: noise, and noise on a bright square; of four photos, all with these boxes."""
    noise = torch.rand(4, 10, 10, generator=torch.Generator().manual_seed(seed)) / 2
    bright = noise.clone()
    bright[:, 2:7, 2:7] += 0.5
    curves = {}
    for name, maps in {"attention": noise, "fused": bright}.items():
        meter = LocalizationMetric(50)
        meter.update(maps, [boxes] * 4, RIGHT, RIGHT)
        curves[name] = meter.compute()
    return curves


@pytest.mark.parametrize(
    ("val", "score_map", "threshold"),
    [(SQUARE, "fused", "test/threshold"), (NONE, "attention", None), (None, "fused", "test/threshold_oracle")],
    ids=["val with boxes", "val without boxes", "no val"],
)
def test_what_val_cannot_tell_is_not_chosen_on_test(caplog, val, score_map, threshold):
    test, boxes = counted(SQUARE), [SQUARE] * 4
    of_val = None if val is None else counted(val, seed=1)
    found = compute_evaluation(test, of_val, {"test": boxes} | ({"val": boxes} if val is SQUARE else {}), (10, 10))
    assert found.score_map == score_map
    own = found.per_map[score_map]
    assert found.threshold == (own[threshold] if threshold else DEFAULT_THRESHOLD)
    assert own["test/threshold_oracle"] != DEFAULT_THRESHOLD
    assert own["test/num_boxed"] == 4
    note = result_table(found).note
    assert ("the val images have no boxes" in caplog.text) is (val is NONE)
    assert ("boxes are drawn at the default threshold 0.2" in note) is (val is NONE)
    few = "by 4 images with boxes: too few to rely on, give boxes to 20 or more val images"
    assert (f"Map (*) and threshold chosen on val {few}. Oracle: threshold chosen on test itself." in note) is (
        val is SQUARE
    )
    assert note.endswith("Compared at 10 x 10 pixels. Scored on 4 images with boxes.")
    assert ("chosen on val" in note) is (val is SQUARE)


def test_the_criterion_chooses_map_threshold_and_weights_and_is_named():
    """Two maps whose boxes are all right; the one whose boxes are tighter has the better mean IoU at a higher threshold."""
    loose, tight = np.zeros((2, 1, 20, 20), np.float32)
    loose[0, 2:16, 2:16] = 1  # at every threshold; IoU with the true box 0.5 to 1
    tight[0, 2:16, 2:16] = 0.4
    tight[0, 2:13, 2:13] = 1
    truth = [np.array([[2, 2, 13, 13]])]
    chosen = {}
    for criterion in CRITERIA:
        curves = {}
        for name, score_map in {"loose": loose, "tight": tight}.items():
            metric = LocalizationMetric(100, choose_by=criterion)
            metric.update(torch.from_numpy(score_map), truth, torch.tensor([True]))
            curves[name] = metric.compute()
        found = compute_evaluation(curves, curves, {"test": truth, "val": truth}, (20, 20))
        objective = validation_numbers(curves)["objective"]
        chosen[criterion] = (found.score_map, found.threshold, objective)
        assert found.metrics["test/gt_known_error"] == found.metrics["test/gt_known_error_oracle"] == 0
        assert ("chosen on val for the best mean IoU by" in result_table(found).note) is (criterion == "mean_iou")
    assert chosen["gt_known"] == ("loose", 0.5, 0)
    assert chosen["mean_iou"] == ("tight", pytest.approx(0.7, abs=0.011), pytest.approx(0))


def test_a_table_says_how_many_boxes_chose_and_how_many_scored():
    assert chosen_by({20, 31}) == " by 20 to 31 images with boxes"
    assert chosen_by({19, 31}).startswith(" by 19 to 31 images with boxes: too few to rely on")
    assert scored_on({1}) == " Scored on 1 image with boxes."
    assert (chosen_by({0}), scored_on(set())) == ("", "")
