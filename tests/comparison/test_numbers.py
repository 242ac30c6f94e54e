"""Means, spreads, paired tests and curves against values worked out by hand."""

from math import sqrt

import numpy as np
import pytest
import yaml

from spg_lightning.comparison.published import published_of
from spg_lightning.comparison.runs import collect
from spg_lightning.comparison.series import accuracy_curve, training_curves
from spg_lightning.comparison.significance import difference, paired, unpaired
from spg_lightning.comparison.summary import METRICS, Cell, cell_of, summarize
from spg_lightning.comparison.variants import variants_of
from tests.comparison.fabricate import config_of, write_run
from tests.conftest import SHARED


def test_mean_and_sample_deviation():
    cell = cell_of([40.0, 42.0, None, 47.0])
    assert cell == Cell(43.0, pytest.approx(sqrt((9 + 1 + 16) / 2)), 3)
    assert cell.text == "43.0 ± 3.6"
    assert cell_of([40.0]).text == "40.0"
    assert cell_of([None]) is None


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


@pytest.fixture
def study(tmp_path):
    """SPG with seeds 0, 1, 2; direct guidance with seeds 1, 2, 3; SPG-plain with seed 0 only."""
    root = tmp_path / "study"
    for seed, error in enumerate((30.0, 32.0, 37.0)):
        write_run(root / f"spg-{seed}", config_of(), seed, error, pxap=50.0)
    for seed, error in ((1, 35.0), (2, 41.0), (3, 39.0)):
        write_run(root / f"direct-{seed}", config_of("guidance=direct"), seed, error)
    write_run(root / "plain", config_of("method=spg_plain"), 0, 40.0, chosen="attention")
    variants, _ = variants_of(collect(root)[0])
    return variants


def test_the_table(study):
    rows = summarize(study, study[0], "auto", per_map=False)
    assert [(r.kind, r.label, r.origin, r.n) for r in rows] == [
        ("reference", "SPG", "b1", 3),
        ("variant", "SPG guidance=direct", "b1", 3),
        ("variant", "SPG-plain", "attention", 1),
        ("floor", "centred box", "floor", 3),
        ("floor", "whole image", "floor", 3),
    ]
    table = [[row.text(m) for m in METRICS] for row in rows]
    assert table[0] == ["33.0 ± 3.6", "32.0 ± 3.6", "35.0 ± 3.6", "34.0 ± 3.6", "57.0 ± 3.6", "50.0 ± 0.0", "20.0 ± 0.0", "5.0 ± 0.0"]  # fmt: skip
    assert table[2] == ["50.0", "49.0", "52.0", "51.0", "40.0", "-", "20.0", "5.0"]
    assert table[3] == ["46.0 ± 1.0", "44.0 ± 0.0", *[""] * 6]
    assert rows[0].best == {
        "gt_known_error",
        "gt_known_error_oracle",
        "loc_top1_error",
        "loc_top5_error",
        "max_box_acc_v2",
    }


def test_rows_of_maps_and_one_map_for_all(study):
    rows = summarize(study, study[0], "auto", per_map=True)
    assert [(r.kind, r.origin, r.text("gt_known_error")) for r in rows[:3]] == [
        ("reference", "b1", "33.0 ± 3.6"),
        ("map", "attention", "43.0 ± 3.6"),
        ("map", "b1", "33.0 ± 3.6"),
    ]
    rows = summarize(study, study[0], "attention", per_map=False)
    assert [r.text("gt_known_error") for r in rows[:3]] == ["43.0 ± 3.6", "48.3 ± 3.1", "50.0"]


def test_seeds_that_chose_different_maps(tmp_path):
    for seed, chosen in enumerate(("b1", "attention", "b1")):
        write_run(tmp_path / str(seed), config_of(), seed, 30.0, chosen=chosen)
    variants, _ = variants_of(collect(tmp_path)[0])
    row = summarize(variants, variants[0], "auto", per_map=False)[0]
    assert (row.origin, row.text("gt_known_error")) == ("b1 (2), attention (1)", "33.3 ± 5.8")


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
    variants, _ = variants_of(collect(tmp_path)[0])
    assert difference(variants[1], variants[0], "gt_known_error", "auto") is None
    rows = summarize(variants, variants[0], "auto", per_map=False)
    assert {row.best for row in rows} == {frozenset()}
    assert {row.origin for row in rows if row.kind == "floor"} == {"floor, toybirds", "floor, cub"}


def test_curves_are_means_over_the_seeds(study):
    curve = accuracy_curve(study[0], "auto")
    assert curve[0].tolist() == [round(0.1 * k, 1) for k in range(11)]
    assert curve[1].max() == curve[1][5] == 67
    training = training_curves(study[0])
    assert set(training) == {"train/loss_cls", "train/loss_total", "val/gt_known_error"}
    assert training["train/loss_cls"].tolist() == [[4, 9], [3, 2]]
    assert training["val/gt_known_error"].tolist() == [[9], [33]]


def test_whether_published_data_is_ours(tmp_path):
    full = config_of("dataset=cub", "stem=inception_v3")
    for name, config in (("full", full), ("toy", config_of()), ("swept", config_of("thresholds.b2.high=0.6"))):
        write_run(tmp_path / name / "run", config, 0, 40.0)
    facts = tmp_path / "full" / "run" / "provenance.json"
    facts.write_text(facts.read_text().replace('"test": 200', '"test": 5794'))
    remarks = {
        name: {row.source: row.remark for row in published_of(variants_of(collect(tmp_path / name)[0])[0])}
        for name in ("full", "toy", "swept")
    }
    assert remarks["full"]["SPG paper, table 2"] == "same data and network"
    assert remarks["full"]["SPG paper, tables 1 and 4"] == "other data"
    assert remarks["toy"]["SPG paper, table 2"] == "other data and network"
    assert remarks["swept"] == {}


@pytest.mark.shared
def test_published_figures_are_the_papers():
    from spg_lightning.comparison.published import _tables

    paper = yaml.safe_load((SHARED / "paper" / "spg_eccv2018.yaml").read_text())
    ours = {
        (table["source"], table["dataset"], table["stem"], row["variant"]): {
            k: v for k, v in row.items() if k != "variant"
        }
        for table in _tables()
        for row in table["rows"]
    }
    names = {"spg": "SPG", "spg_plain": "SPG-plain", "cam": "GoogLeNet-GAP", "has": "GoogLeNet-HaS", "acol": "ACoL"}
    for (source, dataset, stem, variant), numbers in ours.items():
        name = names.get(variant)
        if source == "SPG paper, tables 1 and 4":
            errors = paper["ilsvrc_val_localization_error"]
            top1, top5 = errors[{"has": "GoogLeNet-HaS-32", "acol": "GoogLeNet-ACoL"}.get(variant, name)]
            known = paper["ilsvrc_val_gt_known_error"][name] if variant != "acol" else None
        elif source == "SPG paper, table 2":
            (top1, top5), known = paper["cub_200_2011_localization_error"][name], None
        elif source == "SPG paper, ablation study":
            switch = {
                "spg guidance=direct": "both B1 and B2 taught by A4's attention",
                "spg fuse=off": "without SPG-C",
                "spg shared_weights=off": "B1 and B2 share no weights",
            }[variant]
            top1, top5, known = None, None, paper["ilsvrc_val_gt_known_error_ablations"][switch]
        else:
            method = {"cam": "CAM", "has": "HaS", "acol": "ACoL", "spg": "SPG", "adl": "ADL", "cutmix": "CutMix"}[
                variant.split()[0]
            ]
            column = {"vgg16": 3, "inception_v3": 4, "resnet50": 5}[stem]
            assert numbers == {"max_box_acc_v2": paper["benchmark_cvpr2020_max_box_acc_v2"][method]["box"][column]}
            continue
        wanted = {"gt_known_error": known, "loc_top1_error": top1, "loc_top5_error": top5}
        assert numbers == {k: v for k, v in wanted.items() if v is not None}, (source, dataset, variant)
