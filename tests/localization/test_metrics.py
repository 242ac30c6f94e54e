"""Metrics in closed form, and what no split of the images may change."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from spg_lightning.errors import UserError
from spg_lightning.localization import (
    LocalizationMetric,
    naive_baselines,
    pixel_average_precision,
    pixel_histograms,
    summarize,
)
from spg_lightning.localization.metrics import CURVES
from spg_lightning.localization.pixel_metrics import histogram_edges
from spg_lightning.localization.threshold_scan import box_in_photo, default_thresholds, scan_thresholds


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.random((count, 6, 6)).repeat(4, 1).repeat(4, 2).astype(np.float32))
    corners = np.sort(rng.integers(0, 24, (count, 2, 2)), axis=1).reshape(count, 1, 4)
    right = torch.from_numpy(rng.random((count, 2)) > 0.4)
    masks = torch.from_numpy(rng.random((count, 24, 24)) > 0.7)
    return maps, list(corners), right[:, 0], right.any(1), masks


def counted(parts):
    metric = LocalizationMetric(num_thresholds=100)
    for part in parts:
        metric.update(*part)
    return metric


def test_the_mean_iou_is_that_of_the_largest_contour_at_each_threshold():
    maps, boxes, *_ = images(7)
    metric = LocalizationMetric(20, choose_by="mean_iou")
    metric.update(maps, boxes)
    expected = [
        np.mean([scan_thresholds(m, b).box_at(t)[1] for m, b in zip(maps.numpy(), boxes, strict=True)])
        for t in default_thresholds(20)
    ]
    found = metric.compute()
    np.testing.assert_allclose(found.box_quality(), 100 * np.array(expected), atol=1e-6)
    assert found.best_threshold() == int(np.argmax(expected))
    with pytest.raises(UserError, match="choose_by=iou: choose one of gt_known, mean_iou"):
        LocalizationMetric(20, choose_by="iou")


def test_the_box_quality_of_one_image_is_its_iou():
    maps, boxes, *_ = images(1)
    metric = LocalizationMetric(20, choose_by="mean_iou")
    metric.update(maps, boxes)
    best = max(scan_thresholds(maps[0].numpy(), boxes[0]).box_at(t)[1] for t in default_thresholds(20))
    assert metric.compute().box_quality().max() == pytest.approx(100 * best, abs=1e-6)
    assert metric.scans == [], "kept on demand"


def test_every_pixel_is_counted_once():
    maps, boxes, _, _, masks = images(5)
    metric = LocalizationMetric(20)
    metric.update(maps, boxes, masks=masks)
    background, foreground = metric.compute().pixel_hist.sum(1)
    assert (background, foreground) == (int((~masks).sum()), int(masks.sum()))


def test_top1_localization_is_measured_at_the_threshold_of_gt_known():
    """One image of the right class needs a low threshold, two of wrong classes a high one, which GT-known error chooses."""
    score_map = torch.zeros(3, 20, 20)
    score_map[:, 5:15, 5:15] = 0.5
    score_map[:, 5:9, 5:9] = 1.0
    part, whole = np.array([[5, 5, 8, 8]]), np.array([[5, 5, 14, 14]])
    right = torch.tensor([True, False, False])
    test, val = (counted([(score_map, [whole, part, part], right, right)]).compute() for _ in range(2))
    found = summarize(test, val)
    assert found["gt_known_error"] == pytest.approx(100 / 3)
    assert found["loc_top1_error"] == 100
    assert found["loc_top1_error_oracle"] == pytest.approx(200 / 3)


def sliced(data, start, stop):
    return tuple(column[start:stop] for column in data)


def test_one_image_in_closed_form():
    score_map = torch.zeros(1, 20, 20)
    score_map[0, 5:15, 5:15] = 0.5
    score_map[0, 5:9, 5:9] = 1.0
    truth = [np.array([[5, 5, 14, 14]])]
    curves = counted([(score_map, truth, torch.tensor([False]), torch.tensor([True]))]).compute()
    # up to 0.49 the box is 5..15 (IoU 100 / 121), above it 5..9 (25 / 100): wrong at every IoU
    assert curves.hits[0].tolist() == [1] * 50 + [0] * 50
    assert curves.hits[1].sum() == 0
    assert curves.hits[2].tolist() == curves.hits[0].tolist()
    metrics = summarize(curves, curves)
    assert metrics["gt_known_error"] == 0
    assert metrics["loc_top1_error"] == 100
    assert metrics["loc_top5_error"] == 0
    assert metrics["cls_top1_error"] == 100
    assert metrics["cls_top5_error"] == 0
    assert metrics["num_images"] == metrics["num_boxed"] == 1
    assert metrics["max_box_acc_iou70"] == metrics["max_box_acc_v2"] == 100
    assert metrics["threshold"] == 0.25  # the middle of the best run
    assert "pxap" not in metrics


def test_the_best_threshold_is_the_middle_of_the_longest_run():
    counts = counted([images(3)]).compute()
    for row, middle in (([2, 2, 0, 2, 2, 2, 1], 4), ([2, 2, 0, 2, 2], 1), ([0, 0, 2], 2), ([1, 1, 1, 1], 2)):
        counts.hits = np.array([row])
        assert counts.best("gt_known") == middle


def test_scans_are_kept_until_a_reset():
    metric = LocalizationMetric(10, keep_scans=True)
    for _ in range(2):
        metric.update(torch.rand(2, 8, 8), [np.array([[1, 1, 4, 4]])] * 2)
        assert len(metric.scans) == 2
        metric.reset()
        assert metric.scans == []


def test_any_split_gives_identical_states():
    data = images(23)
    whole = counted([data])
    parts = counted([sliced(data, i, i + 5) for i in range(0, 23, 5)])
    ranks = [counted([sliced(data, *edge)]) for edge in ((0, 7), (7, 8), (8, 23))]
    for name in ("hits", "pixel_hist", "saliency", "counts"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))
        assert torch.equal(getattr(whole, name), sum(getattr(rank, name) for rank in ranks))


@pytest.mark.parametrize("seed", range(20))
def test_order_and_transposition_change_nothing(seed):
    """Transposition leaves the curves of any contour: of two largest ones the first in reading order counts.

    A flip would change them: the benchmark's boxes end one pixel further right and down, where there is one.
    """
    _, corners, top1, top5, masks = images(9, seed)
    rng = np.random.default_rng(seed)
    maps, boxes = torch.from_numpy(rng.random((9, 24, 24)).astype(np.float32)), np.stack(corners)
    order = rng.permutation(9)
    own = counted([(maps, list(boxes), top1, top5, masks)])
    shuffled = counted([(maps[order], list(boxes[order]), top1[order], top5[order], masks[order])])
    for name in ("hits", "pixel_hist", "saliency", "counts"):
        assert torch.equal(getattr(own, name), getattr(shuffled, name))
    other = counted([(maps.mT.contiguous(), list(boxes[..., [1, 0, 3, 2]]), top1, top5, masks.mT.contiguous())])
    of_any = [k for k, curve in enumerate(CURVES) if curve.startswith("iou")]
    assert torch.equal(own.hits[of_any], other.hits[of_any])
    for name in ("pixel_hist", "counts"):
        assert torch.equal(getattr(own, name), getattr(other, name))
    assert (own.saliency - other.saliency).abs().max() <= 9  # sums of floats in another order, rounded to 1e-9


def test_the_threshold_of_val_is_applied_to_test():
    val, test = (counted([images(30, seed)]).compute() for seed in (1, 2))
    metrics = summarize(test, val)
    at = val.best("gt_known")
    assert metrics["gt_known_error"] == pytest.approx(100 - 100 * test.hits[0][at] / 30)
    assert metrics["gt_known_error_oracle"] == pytest.approx(100 - 100 * test.hits[0].max() / 30)
    assert metrics["gt_known_error_oracle"] <= metrics["gt_known_error"] <= metrics["loc_top5_error"]
    assert "gt_known_error" not in summarize(test, None)


def test_pixel_average_precision_against_scikit_learn():
    rng = np.random.default_rng(0)
    thresholds = default_thresholds(100)
    scores = rng.integers(0, 100, (40, 40)) / 100 + 0.005
    mask = rng.random((40, 40)) < scores
    ours = pixel_average_precision(pixel_histograms(scores, mask.astype(np.int8), histogram_edges(thresholds)))
    # the benchmark's sum leaves out the step to the highest bin, whose recall is 0 at the upper end
    assert ours == pytest.approx(100 * average_precision_score(mask.ravel(), scores.ravel()), abs=0.05)


def test_a_score_at_a_threshold_is_above_it_whatever_rounding_says():
    thresholds, mask = default_thresholds(100), np.ones((1, 1), np.int8)
    assert int(thresholds[29] * 100) == 28, "nothing to correct"
    for k, threshold in enumerate(thresholds):
        for score, expected in ((threshold, k), (np.nextafter(threshold, 0), max(k - 1, 0))):
            counts = pixel_histograms(np.array([[score]]), mask, histogram_edges(thresholds))
            assert np.flatnonzero(counts[1]).tolist() == [expected]


def test_without_object_pixels_there_is_no_precision():
    assert np.isnan(pixel_average_precision(np.array([[3, 1], [0, 0]])))


def test_ignored_pixels_do_not_count():
    scores, mask = np.array([[0.95, 0.2, 0.8]], np.float32), np.array([[1, 0, 0]], np.int8)
    edges = histogram_edges(default_thresholds(10))
    assert pixel_histograms(scores, mask, edges).sum() == 3
    counts = pixel_histograms(scores, np.array([[1, 0, -1]], np.int8), edges)
    assert counts.sum() == 2
    assert counts[:, 8].sum() == 0  # 0.8 is just above the eighth edge


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1, float("inf")])
def test_a_map_outside_0_1_is_refused(value):
    score_map = np.full((4, 4), 0.5, np.float32)
    score_map[1, 2] = value
    with pytest.raises(UserError, match=r"photo 7: values must lie in \[0, 1\]"):
        scan_thresholds(score_map, np.zeros((0, 4), np.int64), name="photo 7")


def test_floors():
    centred = [np.array([[25, 25, 74, 74]])] * 3
    corner = [np.array([[0, 0, 9, 9]])]
    out = naive_baselines(test=centred + corner, val=centred, frame=(100, 100))
    assert out["floor_center_gt_known_error"] == out["floor_center_gt_known_error_oracle"] == 25
    assert out["floor_whole_gt_known_error"] == 100
    whole = naive_baselines(test=[np.array([[0, 0, 99, 80]])], val=None, frame=(100, 100))
    assert whole["floor_whole_gt_known_error"] == 0
    assert "floor_center_gt_known_error" not in whole


def test_a_box_at_the_maps_edge_reaches_the_photos_edge():
    assert box_in_photo(np.array([0, 10, 223, 100]), (224, 224), (448, 112)) == (0, 5, 448, 50)


def test_mask_overlaps_equal_a_loop_over_thresholds():
    rng = np.random.default_rng(0)
    maps, masks = rng.random((3, 12, 9)).astype(np.float32), rng.integers(-1, 2, (3, 12, 9)).astype(np.int8)
    metric = LocalizationMetric(20)
    metric.update(torch.from_numpy(maps), boxes=None, masks=torch.from_numpy(masks))
    counts = metric.compute()
    counted = masks >= 0
    for threshold, iou, f1 in zip(counts.thresholds, *counts.mask_overlaps(), strict=True):
        predicted, true = (maps >= threshold) & counted, masks == 1
        both, either = (predicted & true).sum(), (predicted | true).sum()
        assert iou == pytest.approx(100 * both / either)
        assert f1 == pytest.approx(100 * 2 * both / (predicted.sum() + true.sum()))
    summary = summarize(counts, counts)
    assert summary["mask_iou"] == summary["mask_iou_oracle"] == pytest.approx(counts.mask_overlaps()[0].max())
    assert summary["threshold"] in counts.thresholds
    assert "gt_known_error" not in summary


def test_masks_are_measured_at_the_threshold_of_the_boxes():
    """A small box and a large mask: the box's best threshold is not the mask's."""
    maps = torch.zeros(1, 20, 20)
    maps[0, 2:18, 2:18], maps[0, 8:12, 8:12] = 0.5, 1.0
    masks = (maps > 0.4).to(torch.int8)
    metric = LocalizationMetric(10)
    metric.update(maps, boxes=[np.array([[8, 8, 11, 11]])], masks=masks)
    counts = metric.compute()
    summary = summarize(counts, counts)
    assert summary["threshold"] > 0.5
    assert summary["mask_iou"] == pytest.approx(100 * 16 / 256)
    assert summary["mask_iou_oracle"] == 100
    assert summary["mask_f1"] == pytest.approx(100 * 2 * 16 / (256 + 16))
    assert summary["mask_f1_oracle"] == 100


def test_val_without_the_ground_truth_of_test():
    """Boxes of val choose the threshold for the masks of test; masks of val choose none for boxes."""
    maps, masks = torch.rand(2, 8, 8), torch.ones(2, 8, 8, dtype=torch.int8)
    boxed, masked, nothing = LocalizationMetric(10), LocalizationMetric(10), LocalizationMetric(10)
    boxed.update(maps, [np.array([[1, 1, 4, 4]])] * 2)
    masked.update(maps, None, masks=masks)
    nothing.update(maps, None)
    boxed, masked, nothing = boxed.compute(), masked.compute(), nothing.compute()
    chosen = {name for name in summarize(masked, boxed) if not name.endswith("_oracle")}
    assert chosen == {"num_images", "num_boxed", "pxap", "threshold", "mask_iou", "mask_f1"}
    chosen = {name for name in summarize(boxed, masked) if not name.endswith("_oracle")}
    assert chosen == {"num_images", "num_boxed", "pointing_game", "energy_in_box"}
    assert not any(name.endswith("_error") for name in summarize(boxed, nothing) if "oracle" not in name)
    assert summarize(nothing, boxed) == {"num_images": 2, "num_boxed": 0}
