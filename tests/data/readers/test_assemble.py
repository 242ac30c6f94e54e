"""Readers of one's own: a mistake in any image, also the first, has a line that names it."""

import cv2
import numpy as np
import pytest

from spg_lightning import UserError, build_records


@pytest.mark.parametrize("bad", [0, 1])
def test_a_label_beyond_the_classes_names_its_image(tmp_path, bad):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    labels = [0, 0]
    labels[bad] = 2
    with pytest.raises(UserError, match=rf"{'ab'[bad]}\.png: label 2 is not the index of one of 2 classes"):
        build_records(tmp_path, ["a.png", "b.png"], labels, ("x", "y"))
