"""The confidence that val gives: its parts of images, and its fit on a network that is sure where it should be."""

from types import SimpleNamespace

import numpy as np
import pytest

from spg_lightning.evaluation.fit_confidence import collect_examples, fit_confidence, part_with, part_without
from spg_lightning.localizer import Localizer, ModelOutput


def test_a_part_without_the_object_is_beside_all_boxes():
    boxes = np.array([[60.0, 20.0, 90.0, 80.0], [50.0, 30.0, 70.0, 50.0]])
    assert part_without(boxes, 100, 100) == (0, 0, 50, 100)
    assert part_without(np.array([[0.0, 0.0, 90.0, 60.0]]), 100, 100) == (0, 60, 80, 100)  # at most 2 : 1
    assert part_without(np.array([[20.0, 20.0, 80.0, 80.0]]), 100, 100) is None


def test_a_part_with_the_object_has_the_same_size():
    assert part_with(np.array([60.0, 20.0, 90.0, 80.0]), (0, 0, 50, 100), 100, 100) == (50, 0, 100, 100)
    assert part_with(np.array([40.0, 40.0, 60.0, 60.0]), (0, 0, 30, 20), 100, 100) == (35, 40, 65, 60)


class BrightestPart(Localizer):
    """Localizes with the brightness of the image; sure of a class where something is bright."""

    def __init__(self):
        super().__init__(None, {"brightness": None}, 0.5, 32)

    def run(self, frames, top_k):
        maps = frames[..., 0].astype(np.float32) / 255
        sure = np.where(maps.reshape(len(maps), -1).max(1) > 0.5, 0.95, 0.55)
        return ModelOutput(np.stack([sure, 1 - sure], 1), np.zeros((len(maps), 1), int), [maps])


class Squares:
    """Photos with one bright square, in every fourth a small one, which the true box is too large for."""

    crop, pseudo_boxes = 32, ""

    def __init__(self, count):
        self.photos, boxes = [], []
        rng = np.random.default_rng(0)
        for k in range(count):
            photo = rng.integers(0, 40, (32, 32, 3), dtype=np.uint8)
            side, (x, y) = (6, rng.integers(1, 4, 2)) if k % 4 == 0 else (12, rng.integers(1, 4, 2))
            photo[y : y + side, x : x + side] = 250
            self.photos.append(photo)
            boxes.append([x, y, x + 12, y + 12])  # half as wide as that, the IoU is a quarter
        self.boxes = np.array(boxes, float)
        self.records = {"val": SimpleNamespace(
            boxes=self.boxes, box_offsets=np.arange(count + 1), boxes_of=lambda i: self.boxes[i : i + 1]
        )}  # fmt: skip

    def dataset(self, split):
        return SimpleNamespace(
            source=lambda index: self.photos[index], true_boxes=lambda index: self.boxes[index : index + 1].astype(int)
        )


def test_boxes_that_tend_to_be_wrong_get_less_confidence_and_empty_parts_show_nothing():
    data, localizer = Squares(80), BrightestPart()
    localizer.confidence = fit_confidence(localizer, data)
    assert localizer.confidence.num_val == 80
    small, large = localizer(data.photos[0])[0], localizer(data.photos[1])[0]
    assert small.box_confidence() < 0.3 < 0.9 < large.box_confidence()
    assert large.is_present
    empty = localizer(np.random.default_rng(1).integers(0, 40, (32, 32, 3), dtype=np.uint8))[0]
    assert not empty.is_present
    assert empty.presence < 0.3 < 0.7 < large.presence


def test_at_most_max_images_and_none_without_boxes():
    data = Squares(30)
    assert collect_examples(BrightestPart(), data, "val", 10).num_whole == 10
    data.records["val"].boxes = np.zeros((0, 4))
    confidence = fit_confidence(BrightestPart(), data)
    assert confidence.box is None
    assert confidence.presence is None
    assert localization_without(confidence).presence is None


def localization_without(confidence):
    localizer = BrightestPart()
    localizer.confidence = confidence
    return localizer(np.full((32, 32, 3), 200, np.uint8))[0]


@pytest.mark.parametrize("values", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(values):
    from spg_lightning.errors import UserError

    class Broken(BrightestPart):
        def run(self, frames, top_k):
            return ModelOutput(
                np.full((len(frames), 2), values), np.zeros((len(frames), 1), int), [frames[..., 0] / 255.0]
            )

    with pytest.raises(UserError, match="not finite"):
        Broken()(np.zeros((32, 32, 3), np.uint8))
