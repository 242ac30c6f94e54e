"""What a checkpoint says of itself: the values just inside and just outside of the ranges."""

import pytest

from spg_lightning.errors import UserError
from spg_lightning.localization.confidence import FEATURES
from spg_lightning.localization.description_checks import check_description
from spg_lightning.utils.limits import LARGEST_SIDE

GOOD = {"crop": 224, "class_names": ["wren", "tit"]}


def logistic(count):
    return {"mean": [0.0] * count, "scale": [1.0] * count, "weights": [0.5] * count, "bias": 0.0}


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"crop": 1},
        {"crop": LARGEST_SIDE},
        {"class_names": ("wren",)},
        {"score_map": "b1:pamr"},
        {"threshold": 0},
        {"threshold": 1.0},
        {"confidence": None},
        {"confidence": {"presence": logistic(len(FEATURES))}},
    ],
)
def test_possible_descriptions(entries):
    check_description({**GOOD, **entries}, "file")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("crop", value) for value in (None, 0, LARGEST_SIDE + 1, True, 64.0, "64")),
        *(("class_names", value) for value in (None, [], ["wren", 1], "wren")),
        *(("score_map", value) for value in (None, 1)),
        *(("threshold", value) for value in (None, -0.1, 1.1, True, float("nan"), "0.5")),
        *(("confidence", value) for value in (1, {"box": {}}, {"box": logistic(1)}, {"presence": logistic(1)})),
    ],
)
def test_impossible_descriptions(key, value):
    with pytest.raises(UserError, match=f"file: its description is damaged, {key}=.* makes no sense"):
        check_description({**GOOD, key: value}, "file")


@pytest.mark.parametrize("key", GOOD)
def test_what_a_description_must_have(key):
    with pytest.raises(UserError, match=f"{key}=None makes no sense"):
        check_description({name: value for name, value in GOOD.items() if name != key}, "file")
