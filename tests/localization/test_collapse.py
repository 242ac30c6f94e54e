"""The three signs of a collapse, just before and just after they are one."""

import pytest

from spg_lightning.localization.collapse import box_fraction, full_boxes, full_masks, one_class


def test_masks_without_background_name_the_branches_and_their_keys():
    (text,) = full_masks({"b2": 0.98, "b1": 1.0, "c": 0.995})
    assert text.startswith("the masks that supervise B1 and C are all foreground")
    assert "raise high and low of thresholds.b1, thresholds.c, lower dataset.lr, or take guidance=seeded" in text
    assert full_masks({"b2": 0.98}) == []


def test_boxes_of_most_images_cover_them():
    assert box_fraction((5, 10, 95, 50), (100, 50)) == pytest.approx(0.72)
    (text,) = full_boxes([0.95] * 6 + [0.5] * 4)
    assert text.startswith("6 of 10 boxes cover more than 90% of their image")
    assert "evaluate other maps (score_map=, normalize=) on val images with boxes" in text
    assert full_boxes([0.95] * 5 + [0.5] * 5) == []
    assert full_boxes([1.0] * 9) == []  # too few to tell


def test_one_class_for_all_is_no_collapse_where_all_are_of_one_class():
    assert one_class(["wren"] * 10)[0].startswith("all 10 images are predicted as wren")
    assert one_class(["wren"] * 10, ["wren", "tit"])
    assert one_class(["wren"] * 10, ["tit"]) == []
    assert one_class(["wren"] * 9 + ["tit"]) == []
    assert one_class([]) == one_class(["wren"] * 9) == []
