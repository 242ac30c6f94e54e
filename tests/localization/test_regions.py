"""Regions above a threshold, and their masks."""

import numpy as np
import pytest
from scipy import ndimage

from spg_lightning.errors import UserError
from spg_lightning.localization.regions import find_regions, mask_at_image_size
from spg_lightning.localization.threshold_scan import box_of_map


def random_map(seed, shape=(40, 48), smooth=2.0):
    values = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), smooth)
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


@pytest.mark.parametrize("smooth", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9])
def test_the_first_region_has_the_box_of_the_evaluation(smooth, threshold):
    for seed in range(20):
        values = random_map(seed, smooth=smooth)
        (largest,) = find_regions(values, threshold, (480, 300))
        assert largest.box == box_of_map(values, threshold, (480, 300))
        assert find_regions(values, threshold, (480, 300), "all")[0].box == largest.box


def test_of_regions_of_equal_area_the_first_one_is_the_evaluations():
    """Small maps of few values hold many of the same area."""
    rng = np.random.default_rng(0)
    for _ in range(2000):
        values = (rng.integers(0, 3, (7, 9)) / 2).astype(np.float32)
        found = find_regions(values, 0.6, (9, 7))
        assert (found[0].box if found else (0, 0, 0, 0)) == box_of_map(values, 0.6, (9, 7))


def test_all_regions_are_the_connected_components():
    values = random_map(3, smooth=1.5)
    regions = find_regions(values, 0.6, (48, 40), "all")
    above = (values * 255).astype(np.uint8) > int(0.6 * 255)
    assert len(regions) == ndimage.label(above, np.ones((3, 3)))[1] > 3
    assert np.array_equal(np.sum([region.mask for region in regions], axis=0), above)
    large = find_regions(values, 0.6, (48, 40), "all", min_area=0.01)
    assert 0 < len(large) < len(regions)
    assert all(region.area_fraction >= 0.01 for region in large)


def test_a_ring_is_the_region_not_its_hole_and_an_island_inside_is_one_of_its_own():
    values = np.zeros((30, 30), np.float32)
    values[5:25, 5:25] = 1
    values[8:22, 8:22] = 0
    values[13:17, 13:17] = 1
    ring, island = find_regions(values, 0.5, (30, 30), "all")
    assert ring.box == (5, 5, 25, 25)
    assert island.box == (13, 13, 17, 17)
    assert not ring.mask[15, 15]


def test_a_mask_at_the_size_of_the_image():
    values = random_map(5, (32, 32))
    for region in find_regions(values, 0.5, (320, 160), "all"):
        mask = mask_at_image_size(values, 0.5, region, (320, 160))
        assert mask.shape == (160, 320)
        same = mask_at_image_size(values, 0.5, region, (32, 32))
        assert np.array_equal(same, region.mask)
        # bilinear interpolation moves an edge by less than one pixel of the map
        rows, columns = np.nonzero(mask)
        x0, y0, x1, y1 = region.box
        assert abs(columns.min() - x0) <= 10
        assert abs(columns.max() + 1 - x1) <= 10
        assert abs(rows.min() - y0) <= 5
        assert abs(rows.max() + 1 - y1) <= 5


def test_regions_do_not_touch_each_other_at_the_size_of_the_image():
    values = random_map(7, (32, 32), 1.0)
    masks = [mask_at_image_size(values, 0.6, r, (200, 200)) for r in find_regions(values, 0.6, (200, 200), "all")]
    assert len(masks) > 5
    assert np.sum(masks, axis=0).max() == 1


def test_a_map_of_zeros_has_no_region_and_a_constant_one_is_one():
    assert find_regions(np.zeros((8, 8), np.float32), 0.2, (16, 16)) == []
    (whole,) = find_regions(np.ones((8, 8), np.float32), 0.2, (16, 16))
    assert whole.box == (0, 0, 16, 16)


def test_bad_input_is_named():
    with pytest.raises(UserError, match="regions=biggest"):
        find_regions(np.ones((8, 8), np.float32), 0.2, (8, 8), "biggest")
    with pytest.raises(UserError, match="NaN"):
        find_regions(np.full((8, 8), np.nan, np.float32), 0.2, (8, 8))
