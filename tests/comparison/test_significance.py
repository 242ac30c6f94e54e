"""Paired differences and tests against values worked out by hand."""

from math import sqrt

import numpy as np
import pytest

from spg_lightning.comparison.runs import collect
from spg_lightning.comparison.significance import difference, paired, unpaired
from spg_lightning.comparison.summary import summarize
from spg_lightning.comparison.variants import group_runs
from tests.comparison.fabricate import config_of, write_run


def test_paired_differences():
    # d = 1, 2, 3: sd 1, SE 1 / sqrt 3, t = 2 sqrt 3; with two degrees of freedom p = 1 - t / sqrt(t^2 + 2)
    found = paired([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    t = 2 * sqrt(3)
    assert found.values == (1, 2, 3)
    assert (found.mean, found.error) == (2, pytest.approx(1 / sqrt(3)))
    assert found.p == pytest.approx(1 - t / sqrt(t * t + 2), abs=1e-12)


def test_one_seed_and_equal_differences_have_no_test():
    assert paired([3.0], [1.0]) == paired([4.0], [2.0])
    assert paired([3.0], [1.0]).error is None
    equal = paired([0.1 + 0.2, 1.3], [0.2, 1.2])  # equal but for rounding
    assert (equal.error, equal.p) == (0, None)


def test_differences_are_paired_over_the_common_seeds(study):
    found = difference(study[1], study[0], "gt_known_error", "auto")
    assert found.values == (3, 4)  # seeds 1 and 2
    assert (found.mean, found.error) == (3.5, pytest.approx(0.5))
    # t = 7; with one degree of freedom p = 1 - 2 / pi * atan t
    assert found.p == pytest.approx(1 - 2 / np.pi * np.arctan(7), abs=1e-12)
    assert difference(study[1], study[0], "pxap", "auto") is None
    assert unpaired(study, study[0]) == ["direct-3"]


def test_other_data_is_no_partner(tmp_path):
    write_run(tmp_path / "a", config_of(), 0, 30.0)
    write_run(tmp_path / "b", config_of("dataset=cub"), 0, 40.0)
    variants, _ = group_runs(collect(tmp_path)[0])
    assert difference(variants[1], variants[0], "gt_known_error", "auto") is None
    rows = summarize(variants, variants[0], "auto", per_map=False)
    assert {row.best for row in rows} == {frozenset()}
    assert {row.origin for row in rows if row.kind == "floor"} == {"floor, toybirds", "floor, cub"}
