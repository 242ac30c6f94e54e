"""Saliency measures against a loop over pixels, and in closed form."""

import numpy as np
import pytest
import torch

from spg_lightning.localization import LocalizationMetric, summarize
from spg_lightning.localization.saliency_metrics import energy_in_box, pointing_game


def reference(score_map, boxes):
    """Return both measures pixel by pixel, from their definitions."""
    highest, energy, all_energy = [], 0.0, 0.0
    top = max(float(value) for row in score_map for value in row)
    for y, row in enumerate(score_map):
        for x, value in enumerate(row):
            is_object = any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes)
            all_energy += float(value)
            energy += float(value) * is_object
            if float(value) == top:
                highest.append(is_object)
    return sum(highest) / len(highest), energy / all_energy


@pytest.mark.parametrize("seed", range(20))
def test_random_maps_equal_the_reference(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(3, 30, 2)
    levels = rng.integers(2, 1000)  # few levels: several maxima
    score_map = (rng.integers(0, levels, (height, width)) / (levels - 1)).astype(np.float32)
    corners = np.sort(rng.integers(0, (width, height), (rng.integers(1, 4), 2, 2)), axis=1).reshape(-1, 4)
    expected = reference(score_map, corners.tolist())
    assert (pointing_game(score_map, corners), energy_in_box(score_map, corners)) == pytest.approx(expected, abs=1e-9)


def test_closed_form():
    score_map = np.zeros((10, 10), np.float32)
    score_map[2:4, 2:4], score_map[7, 7] = 0.5, 1.0
    box, both = np.array([[2, 2, 3, 3]]), np.array([[2, 2, 3, 3], [3, 3, 7, 7]])
    assert (pointing_game(score_map, box), energy_in_box(score_map, box)) == (0, pytest.approx(2 / 3))
    assert (pointing_game(score_map, both), energy_in_box(score_map, both)) == (1, 1)  # the shared pixel counts once
    score_map[2, 2] = 1.0
    assert pointing_game(score_map, box) == 0.5
    assert energy_in_box(np.zeros((4, 4), np.float32), box) == 0


def test_the_metric_takes_the_mean_over_the_images_with_boxes():
    rng = np.random.default_rng(0)
    maps = rng.random((3, 8, 8)).astype(np.float32)
    boxes = [np.array([[1, 1, 5, 6]]), np.zeros((0, 4), np.int64), np.array([[0, 0, 2, 2], [2, 2, 7, 7]])]
    metric = LocalizationMetric(20)
    metric.update(torch.from_numpy(maps), boxes)
    summary = summarize(metric.compute(), None)
    pointing, energy = np.mean([reference(maps[i], boxes[i].tolist()) for i in (0, 2)], axis=0)
    assert summary["pointing_game"] == pytest.approx(100 * pointing)
    assert summary["energy_in_box"] == pytest.approx(100 * energy)
    metric.reset()
    metric.update(torch.from_numpy(maps), None, masks=torch.from_numpy((maps > 0.5).astype(np.int8)))
    assert "pointing_game" not in summarize(metric.compute(), None)
