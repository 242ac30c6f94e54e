"""A value of a wrong type is one line that names the key, before the constructor sees it."""

import pytest

from spg_lightning import UserError
from spg_lightning.utils.argument_types import check_argument_types

PAMR = {"_target_": "spg_lightning.score_maps.PAMR", "iterations": 1, "dilations": [1, 2], "scale": 0.1, "side": 8}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("iterations", "x", "refine.iterations=x: PAMR takes a whole number"),
        ("iterations", 1.5, "a whole number"),
        ("iterations", True, "a whole number"),
        ("iterations", None, "a whole number"),
        ("iterations", 2**70, "a whole number"),
        ("scale", float("nan"), "a number"),
        ("scale", [0.1], "a number"),
        ("dilations", 3, "a list of a whole number"),
        ("dilations", [1, "x"], "a list of a whole number"),
        ("dilations", {"x": 1}, "a list of a whole number"),
    ],
)
def test_wrong(key, value, said):
    with pytest.raises(UserError, match=said):
        check_argument_types({"refine": PAMR | {key: value}})


@pytest.mark.parametrize(
    ("key", "value"), [("scale", 1), ("iterations", {"_target_": "mine.iterations"}), ("new", "x")]
)
def test_right_or_left_to_the_constructor(key, value):
    check_argument_types([PAMR | {key: value}])
    check_argument_types({"_target_": "os.path.join", "path": 7})
