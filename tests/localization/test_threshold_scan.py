"""From thresholds to levels, and boxes in other frames."""

import numpy as np
import pytest

from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import (
    LONGEST_SIDE,
    box_in_photo,
    box_of_map,
    check_map,
    default_thresholds,
    quantize,
    scale_boxes,
    scan_thresholds,
)


def test_boxes_are_scaled_by_side_and_truncated():
    boxes = scale_boxes(np.array([[10.0, 10, 33, 33]]), (100, 50), (50, 100))
    assert boxes.tolist() == [[5, 20, 16, 66]]
    # 58 / 100 * 50 would be 28.999999999999996
    assert scale_boxes(np.array([[58.0, 0, 58, 0]]), (100, 100), (50, 50)).tolist() == [[29, 0, 29, 0]]


def test_a_compact_scan_gives_the_same_boxes():
    score_map = np.zeros((6, 300), np.float32)
    score_map[1:3, 5:280], score_map[4, 290] = 0.8, 0.4
    scan = scan_thresholds(score_map, np.array([[5, 1, 280, 3]]))
    small = scan.compact()
    assert small.largest_box.nbytes < scan.largest_box.nbytes
    for threshold in default_thresholds(20):
        (box, iou), (same, same_iou) = scan.box_at(threshold), small.box_at(threshold)
        assert box.dtype == same.dtype == np.int64
        assert (box.tolist(), iou) == (same.tolist(), same_iou)
    assert scan.max_value == 204
    assert scan.levels(np.array([0, 0.5, 0.999])).tolist() == [0, 102, 203]


def test_thresholds_are_below_one():
    assert default_thresholds(4).tolist() == [0, 0.25, 0.5, 0.75]
    assert all(len(default_thresholds(count)) == count for count in range(1, 200))


@pytest.mark.parametrize("given", [np.zeros((0, 4)), np.zeros((2, 2), int), np.zeros((1, 2, 2))])
def test_other_arrays_are_no_maps(given):
    with pytest.raises(UserError, match=r"photo: expected a \(height, width\) array of floats"):
        check_map(given, "photo")


def test_sides_are_limited():
    check_map(np.zeros((1, LONGEST_SIDE)), "photo")
    with pytest.raises(UserError, match=r"photo: \(1, 65534\) is too large; a side may have 65533 pixels"):
        check_map(np.zeros((1, LONGEST_SIDE + 1)), "photo")


def test_a_map_without_a_name_is_the_score_map():
    for read in (quantize, lambda score_map: scan_thresholds(score_map, np.zeros((0, 4), int))):
        with pytest.raises(UserError, match=r"^score map: values must lie in \[0, 1\]; found 0 to 2"):
            read(np.array([[0.0, 2.0]]))


def test_the_box_of_a_map_is_in_the_photos_pixels():
    score_map = np.zeros((20, 40), np.float32)
    score_map[5:11, 10:21] = 0.5
    score_map[6:9, 12:15] = 1.0
    # corners as contours have them: the far one is the first pixel outside
    assert box_of_map(score_map, 0.2, (80, 60)) == (20, 15, 42, 33)
    assert box_of_map(score_map, 0.8, (80, 60)) == (24, 18, 30, 27)
    with pytest.raises(UserError, match=r"values must lie in \[0, 1\]"):
        box_of_map(score_map * 2, 0.2, (80, 60))


@pytest.mark.parametrize(
    ("box", "expected"),
    [([1, 2, 39, 10], (2, 6, 80, 30)), ([1, 2, 10, 19], (2, 6, 20, 60)), ([1, 2, 38, 18], (2, 6, 76, 54))],
)
def test_a_box_at_the_maps_far_edge_reaches_the_photos(box, expected):
    assert box_in_photo(np.array(box), (40, 20), (80, 60)) == expected
