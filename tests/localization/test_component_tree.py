"""All levels in one pass against the definition, level by level."""

import cv2
import numpy as np
import pytest

from spg_lightning.localization.component_tree import scan_levels
from tests.reference import contours


def smooth(rng, shape):
    small = rng.random((rng.integers(2, 8), rng.integers(2, 8))).astype(np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


def noise(rng, shape):
    return rng.random(shape)


def plateaus(rng, shape):
    return rng.integers(0, 4, (shape[0] // 3 + 1, shape[1] // 3 + 1)).repeat(3, 0).repeat(3, 1)[: shape[0], : shape[1]]


def rings(rng, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre = rng.random(2) * shape
    return np.sin(np.hypot(y - centre[0], x - centre[1]) / rng.uniform(1, 3))


def sparse(rng, shape):
    return (rng.random(shape) > 0.9) * rng.random(shape)


def constant(rng, shape):
    return np.full(shape, rng.random())


def as_image(values):
    values = np.asarray(values, float)
    low, high = values.min(), values.max()
    if low == high:
        values = np.full_like(values, 0.5)
    elif low < 0 or high > 1:
        values = (values - low) / (high - low)
    return np.ascontiguousarray((values * 255).astype(np.uint8))


def blob(rng, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre = rng.random(2) * shape
    return np.exp(-(((y - centre[0]) / rng.uniform(1, 8)) ** 2) - ((x - centre[1]) / rng.uniform(1, 8)) ** 2)


def craters(rng, shape):
    """Peaks in holes in peaks: islands of several levels."""
    return sum(np.abs(blob(rng, shape) - rng.random()) for _ in range(3))


def boxes(rng, shape, count):
    corners = np.sort(rng.integers(0, shape[::-1], (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.int64)


KINDS = {f.__name__: f for f in (smooth, noise, plateaus, rings, sparse, constant, blob, craters)}
MAPS_OF_A_KIND = 40  # 320 in all


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_definition(kind):
    rng = np.random.default_rng(0)
    for _ in range(MAPS_OF_A_KIND):
        shape = tuple(int(side) for side in rng.integers(1, 26, 2))
        image = as_image(KINDS[kind](rng, shape)) // np.uint8(rng.choice([1, 32]))  # few levels, too: many ties
        truth = boxes(rng, shape, int(rng.integers(0, 4)))
        for ours, expected in zip(scan_levels(image, truth), contours.scan_levels(image, truth), strict=True):
            assert np.array_equal(ours, expected)


def test_box_rules_in_closed_form():
    image = np.zeros((10, 12), np.uint8)
    image[2:9, 3:10] = 100  # a ring
    image[4:7, 5:8] = 0
    image[5, 6] = 50  # an island in its hole
    hole_box = np.array([[4, 3, 9, 8]])  # one pixel larger than the hole, far corner exclusive but inside the map
    largest_box, largest_iou, all_iou = scan_levels(image, hole_box)
    assert largest_box[0].tolist() == [3, 2, 10, 9]
    assert largest_box[99].tolist() == [3, 2, 10, 9]
    assert largest_box[100].tolist() == [0, 0, 0, 0]
    assert all_iou[60] == 1
    assert largest_iou[60] == pytest.approx(36 / 64)


def test_islands_in_holes_equal_the_definition():
    """The truth is the box of an island, which no other contour fits as well."""
    rng = np.random.default_rng(2)
    for _ in range(40):
        image = np.full((14, 17), 200, np.uint8)
        image[2:-2, 2:-2] = rng.integers(0, 100, (10, 13)) * (rng.random((10, 13)) > 0.7)
        y, x = rng.integers(3, (11, 14))
        image[y, x] = 150
        truth = np.array([[x, y, x + 1, y + 1]])
        found = scan_levels(image, truth)
        assert found[2][140] == 1
        for ours, expected in zip(found, contours.scan_levels(image, truth), strict=True):
            assert np.array_equal(ours, expected)


def test_scan_does_not_depend_on_transposition_or_scale():
    rng = np.random.default_rng(1)
    image = as_image(smooth(rng, (30, 40)))
    truth = boxes(rng, (30, 40), 2)
    _, largest, everything = scan_levels(image, truth)
    _, largest_t, everything_t = scan_levels(np.ascontiguousarray(image.T), truth[:, [1, 0, 3, 2]])
    assert np.array_equal(everything, everything_t)
    assert np.array_equal(largest, largest_t)


def test_equals_the_definition_at_full_size():
    rng = np.random.default_rng(3)
    for kind in ("smooth", "craters", "rings"):
        image = as_image(KINDS[kind](rng, (112, 150)))
        truth = boxes(rng, image.shape, 3)
        for ours, expected in zip(scan_levels(image, truth), contours.scan_levels(image, truth), strict=True):
            assert np.array_equal(ours, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_the_smallest_maps(shape):
    rng = np.random.default_rng(4)
    for _ in range(20):
        image = rng.integers(0, 4, shape).astype(np.uint8)
        truth = boxes(rng, shape, 1)
        for ours, expected in zip(scan_levels(image, truth), contours.scan_levels(image, truth), strict=True):
            assert np.array_equal(ours, expected)
