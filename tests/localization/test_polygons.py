"""Polygons of masks: edges of pixels, close to the mask, with holes and several components."""

import cv2
import numpy as np
import pytest

from spg_lightning.localization.polygons import join_polygons, mask_of_polygons, polygons_of_mask


def iou(one, two):
    return (one & two).sum() / (one | two).sum()


def blob(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 200, 2)
    noise = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), float(rng.uniform(1, 8)))
    return noise > np.quantile(noise, rng.uniform(0.2, 0.9))


def test_coordinates_are_edges_of_pixels():
    mask = np.zeros((20, 30), bool)
    mask[3:10, 5:25] = True
    (polygon,) = polygons_of_mask(mask)
    assert {*zip(polygon[::2], polygon[1::2], strict=True)} == {(5, 3), (25, 3), (25, 10), (5, 10)}
    assert np.array_equal(mask_of_polygons([polygon], (30, 20)), mask)
    mask[:] = False
    mask[3, 5] = True
    (polygon,) = polygons_of_mask(mask)
    assert sorted(polygon[::2]) == [5, 5, 6, 6]
    assert sorted(polygon[1::2]) == [3, 3, 4, 4]
    assert np.array_equal(mask_of_polygons([polygon], (30, 20)), mask)


@pytest.mark.parametrize("seed", range(40))
def test_polygons_are_close_to_the_mask(seed):
    mask = blob(seed)
    size = mask.shape[::-1]
    polygons = polygons_of_mask(mask)
    assert iou(mask_of_polygons(polygons, size), mask) >= 0.98
    assert iou(mask_of_polygons([join_polygons(polygons)], size), mask) >= 0.97
    exact = polygons_of_mask(mask, min_iou=1)
    assert iou(mask_of_polygons(exact, size), mask) >= 0.98
    assert sum(map(len, polygons)) <= sum(map(len, exact))
    x, y = (np.concatenate([polygon[k::2] for polygon in polygons]) for k in (0, 1))
    assert min(x.min(), y.min()) >= 0
    assert x.max() <= size[0]
    assert y.max() <= size[1]


def test_a_smooth_outline_needs_few_points():
    mask = np.zeros((400, 500), np.uint8)
    cv2.ellipse(mask, (250, 200), (180, 120), 0, 0, 360, 1, -1)
    (polygon,) = polygons_of_mask(mask > 0)
    assert len(polygon) // 2 <= 30


def test_holes_and_components():
    mask = np.zeros((60, 60), bool)
    mask[5:40, 5:40] = True
    mask[15:30, 15:30] = False
    mask[50:55, 50:55] = True
    polygons = polygons_of_mask(mask)
    assert len(polygons) == 2
    drawn = mask_of_polygons(polygons, (60, 60))
    assert iou(drawn, mask) >= 0.98
    assert not drawn[20:25, 20:25].any()
    assert polygons_of_mask(np.zeros((4, 5), bool)) == []
    assert not mask_of_polygons([], (5, 4)).any()
