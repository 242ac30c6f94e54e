"""Paired differences and tests against values worked out by hand."""

from math import sqrt

import numpy as np
import pytest

from spg_lightning.comparison.compare import compare
from spg_lightning.comparison.runs import collect
from spg_lightning.comparison.significance import Difference, difference, holm, paired, unpaired
from spg_lightning.comparison.summary import summarize
from spg_lightning.comparison.variants import group_runs
from tests.comparison.fabricate import config_of, write_run

ONE_SEED = Difference((2.0,), 2.0, None, None)


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


def test_holm_by_hand():
    # sorted .01 .02 .03 .3 of four: 4 * .01, 3 * .02, 2 * .03 (not below its predecessor), 1 * .3
    p = {"c": 0.03, "a": 0.01, "d": 0.3, "b": 0.02}
    found = holm({**{name: Difference((1.0,), 1.0, 0.1, value) for name, value in p.items()}, "one seed": ONE_SEED})
    assert {name: found[name].p for name in p} == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.3})
    assert found["one seed"] == ONE_SEED  # not tested, not counted
    tied = holm({name: Difference((1.0,), 1.0, 0.1, value) for name, value in {"a": 0.04, "b": 0.02, "c": 0.9}.items()})
    assert [tied[name].p for name in "abc"] == pytest.approx([0.08, 0.06, 0.9])
    assert holm({"a": Difference((1.0,), 1.0, 0.1, 0.9), "b": Difference((1.0,), 1.0, 0.1, 0.8)})["b"].p == 1


def test_a_comparison_corrects_for_the_number_of_variants(tmp_path):
    for seed, (error, direct, plain) in enumerate(((30.0, 31.0, 40.0), (32.0, 34.0, 41.0), (37.0, 37.5, 50.0))):
        write_run(tmp_path / f"spg-{seed}", config_of(), seed, error)
        write_run(tmp_path / f"direct-{seed}", config_of("guidance=direct"), seed, direct)
        write_run(tmp_path / f"plain-{seed}", config_of("method=spg_plain"), seed, plain)
    found = compare(tmp_path, None, "gt_known_error", "auto", False).differences
    raw = {
        "SPG guidance=direct": paired([31, 34, 37.5], [30, 32, 37]).p,
        "SPG-plain": paired([40, 41, 50], [30, 32, 37]).p,
    }
    smaller, larger = sorted(raw, key=raw.__getitem__)
    assert found[smaller]["gt_known_error"].p == pytest.approx(2 * raw[smaller])
    assert found[larger]["gt_known_error"].p == pytest.approx(max(raw[larger], 2 * raw[smaller]))


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
