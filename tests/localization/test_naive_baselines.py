"""The naive baselines, at IoU 0.5 and just below it."""

import numpy as np
import pytest

from spg_lightning.localization import naive_baselines

FRAME = (100, 60)


def floors(test, val=None, frame=FRAME):
    found = naive_baselines([np.array([box]) for box in test], None if val is None else [np.array([val])], frame)
    return {name.removeprefix("floor_").replace("_gt_known_error", ""): error for name, error in found.items()}


@pytest.mark.parametrize("half", [(0, 0, 99, 29), (0, 30, 99, 59), (0, 0, 49, 59), (50, 0, 99, 59)])
def test_half_of_the_image_is_just_enough(half):
    assert floors([half])["whole"] == 0
    x0, y0, x1, y1 = half
    assert floors([(x0, y0, x1 - 1, y1)])["whole"] == floors([(x0, y0, x1, y1 - 1)])["whole"] == 100


@pytest.mark.parametrize(("box", "frame"), [([0, 25, 299, 34], (300, 60)), ([25, 0, 34, 299], (60, 300))])
def test_width_and_height_are_chosen_apart(box, frame):
    assert floors([box], box, frame)["center"] == 0


def test_the_smallest_centred_box_is_a_pixel():
    assert floors([[24, 24, 24, 24]], [24, 24, 24, 24], (50, 50)) == {"whole": 100, "center": 0, "center_oracle": 0}


def test_the_size_is_chosen_on_val():
    small, whole = [30, 20, 69, 39], [0, 0, 99, 59]
    assert floors([small, whole], small) == {"whole": 50, "center": 50, "center_oracle": 50}
    assert floors([whole], small) == {"whole": 0, "center": 100, "center_oracle": 0}


def test_any_box_of_an_image_counts():
    found = naive_baselines([np.array([[0, 0, 3, 3], [0, 0, 99, 59]]), np.zeros((0, 4), np.int64)], None, FRAME)
    assert found["floor_whole_gt_known_error"] == found["floor_center_gt_known_error_oracle"] == 50
