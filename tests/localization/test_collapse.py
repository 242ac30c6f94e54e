"""Tests of the signs of a collapsed model."""

import pytest

from spg_lightning.localization.collapse import box_collapse, class_collapse, mask_collapse


def test_boxes_of_whole_images():
    assert "6 of 10 boxes cover more than 90%" in box_collapse([0.95] * 6 + [0.5] * 4)
    assert box_collapse([0.95] * 5 + [0.5] * 5) is None
    assert box_collapse([1.0] * 9) is None  # few images may well be filled


def test_one_class_for_all():
    assert "all 12 images are predicted as cat: the classifier has not learnt" in class_collapse(["cat"] * 12, True)
    assert "if they show others" in class_collapse(["cat"] * 12, False)
    assert class_collapse(["cat"] * 11 + ["dog"], True) is None
    assert class_collapse([""] * 12, True) is None  # unknown


@pytest.mark.parametrize(("foreground", "told"), [(0.96, True), (0.95, False)])
def test_masks_without_background(foreground, told):
    text = mask_collapse("b1", foreground)
    assert (text is not None and "supervise b1 are 96% foreground" in text) is told
