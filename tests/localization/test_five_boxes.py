"""The rule of the rows SPG* on hand-made cases, and against loops over boxes."""

import numpy as np
import pytest
import torch

from spg_lightning.localization import LocalizationMetric, summarize
from spg_lightning.localization.five_boxes import THRESHOLDS, best_pair, five_box_hits
from spg_lightning.localization.threshold_scan import scan_thresholds

PART, WHOLE = [[5, 5, 8, 8]], [[5, 5, 14, 14]]


def part_in_whole():
    """A map whose box is the whole object up to 0.5, and a quarter of its sides above."""
    score_map = np.zeros((20, 20), np.float32)
    score_map[5:15, 5:15] = 0.5
    score_map[5:9, 5:9] = 1.0
    return score_map


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_two_classes_have_a_tight_and_a_loose_box(rank):
    hits = five_box_hits(scan_thresholds(part_in_whole(), np.array(PART)), rank)
    assert hits[49, 10]
    assert hits[49, 40]
    assert not hits[10, 10]
    whole = five_box_hits(scan_thresholds(part_in_whole(), np.array(WHOLE)), rank)
    assert whole[49, 10]
    assert whole[10, 10]
    assert not whole[49, 40]
    assert not whole[10, 20]  # the tight threshold is not below the loose one


def test_the_third_class_has_the_loose_box_alone():
    hits = five_box_hits(scan_thresholds(part_in_whole(), np.array(WHOLE)), 2)
    assert hits[49, 10]
    assert hits[10, 10]
    assert not hits[49, 40]
    # a right tight box does not count
    part = five_box_hits(scan_thresholds(part_in_whole(), np.array(PART)), 2)
    assert not part[49, 10]
    assert part[49, 40]


@pytest.mark.parametrize("rank", [3, 4, 100])
def test_other_classes_have_no_box(rank):
    assert not five_box_hits(scan_thresholds(part_in_whole(), np.array(WHOLE)), rank).any()


def test_two_images_need_two_thresholds():
    """One object is the part, the other the whole: a single box is right on one of them, two boxes on both."""
    maps = torch.from_numpy(np.stack([part_in_whole()] * 2))
    truth = [np.array(PART), np.array(WHOLE)]
    metric = LocalizationMetric(100)
    yes = torch.tensor([True, True])
    metric.update(maps, truth, top1=yes, top5=yes, rank=torch.tensor([0, 1]))
    counts = metric.compute()
    found = summarize(counts, counts)
    assert found["loc_top5_error"] == 50
    assert found["loc_top5_star_error"] == found["loc_top5_star_error_oracle"] == 0
    tight, loose = THRESHOLDS[[*best_pair(counts.star_hits)]]
    assert loose < 0.5 < tight


def test_the_pair_is_chosen_on_val():
    def counts(truth):
        metric = LocalizationMetric(100)
        metric.update(torch.from_numpy(part_in_whole())[None], [np.array(truth)], rank=torch.tensor([2]))
        return metric.compute()

    numbers = summarize(counts(WHOLE), counts(PART))
    assert numbers["loc_top5_star_error"] == 100
    assert numbers["loc_top5_star_error_oracle"] == 0


def test_without_ranks_there_is_no_such_number():
    metric = LocalizationMetric(100)
    metric.update(torch.from_numpy(part_in_whole())[None], [np.array(WHOLE)])
    assert not any("star" in name for name in summarize(metric.compute(), metric.compute()))


def test_of_several_best_pairs_the_most_central_is_taken():
    hits = np.zeros((50, 50), np.int64)
    hits[20:31, 10:15] = 7
    assert best_pair(hits) == (25, 12)
    tight, loose = best_pair(np.zeros((50, 50), np.int64))
    assert tight > loose


def test_against_loops_over_images_and_boxes():
    rng = np.random.default_rng(0)
    maps = rng.random((12, 6, 6)).repeat(4, 1).repeat(4, 2).astype(np.float32)
    truth = [np.sort(rng.integers(0, 24, (2, 2)), axis=0).reshape(1, 4) for _ in maps]
    ranks = rng.integers(0, 5, 12)
    metric = LocalizationMetric(100)
    for part in (slice(0, 5), slice(5, 12)):
        metric.update(torch.from_numpy(maps[part]), truth[part], rank=torch.from_numpy(ranks[part]))

    scans = [scan_thresholds(one, boxes) for one, boxes in zip(maps, truth, strict=True)]
    for tight in range(0, 50, 7):
        for loose in range(0, tight + 1, 5):
            right = 0
            for scan, rank in zip(scans, ranks, strict=True):
                boxes = [(0, tight), (0, loose), (1, tight), (1, loose), (2, loose)]
                ious = [scan.box_at(THRESHOLDS[at])[1] for of_class, at in boxes if of_class == rank]
                right += any(iou >= 0.5 for iou in ious)
            assert metric.compute().star_hits[tight, loose] == right
