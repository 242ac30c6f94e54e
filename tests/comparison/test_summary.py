"""The table: means and spreads against values worked out by hand."""

import json
from dataclasses import replace
from math import sqrt

import pytest

from spg_lightning.comparison.captions import table_notes
from spg_lightning.comparison.compare import compare
from spg_lightning.comparison.output import print_comparison
from spg_lightning.comparison.runs import collect
from spg_lightning.comparison.summary import METRICS, Cell, cell_of, summarize
from spg_lightning.comparison.variants import group_runs
from tests.comparison.fabricate import config_of, write_run


def test_mean_and_sample_deviation():
    cell = cell_of([40.0, 42.0, None, 47.0])
    assert cell == Cell(43.0, pytest.approx(sqrt((9 + 1 + 16) / 2)), 3)
    assert cell.text == "43.0 ± 3.6"
    assert cell_of([40.0]).text == "40.0"
    assert cell_of([None]) is None


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
    assert table[0] == ["33.0 ± 3.6", "32.0 ± 3.6", "35.0 ± 3.6", "34.0 ± 3.6", "57.0 ± 3.6", "50.0 ± 0.0", "-", "20.0 ± 0.0", "5.0 ± 0.0"]  # fmt: skip
    assert table[2] == ["50.0", "49.0", "52.0", "51.0", "40.0", "-", "-", "20.0", "5.0"]
    assert table[3] == ["46.0 ± 1.0", "44.0 ± 0.0", *[""] * 7]
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
    variants, _ = group_runs(collect(tmp_path)[0])
    row = summarize(variants, variants[0], "auto", per_map=False)[0]
    assert (row.origin, row.text("gt_known_error")) == ("b1 (2), attention (1)", "33.3 ± 5.8")


def test_the_notes_say_how_many_boxes_chose_and_scored(study, tmp_path):
    """Boxes that a map drew in place of ground truth are not counted among those that chose."""
    folders = sorted(path.parent for path in (tmp_path / "study").rglob("metrics.json"))
    for count, folder in enumerate(folders, start=12):
        numbers = json.loads((folder / "metrics.json").read_text()) | {"val/num_boxed": count, "test/num_boxed": 40}
        (folder / "metrics.json").write_text(json.dumps(numbers))
    facts = json.loads((folders[-1] / "provenance.json").read_text()) | {"pseudo_boxes": "feature_pca"}
    (folders[-1] / "provenance.json").write_text(json.dumps(facts))
    note = table_notes(compare(tmp_path / "study", None, "gt_known_error", "auto", False))[0]
    last = 12 + len(folders) - 2
    assert f"chosen on val by 12 to {last} images with boxes: too few to rely on" in note
    assert "Scored on 40 images with boxes." in note


def test_the_terminal_table_shows_variant_and_count_beside_many_maps(study, tmp_path, capsys, monkeypatch):
    """At 80 columns a variant whose seeds chose different maps keeps its name, its count and its numbers."""
    monkeypatch.setenv("COLUMNS", "80")
    comparison = compare(tmp_path / "study", None, "gt_known_error", "auto", False)
    rows = [replace(row, origin="b1+b2+c:pamr (1), c:none (1), fused:pamr (1)") for row in comparison.rows]
    print_comparison(replace(comparison, rows=rows), tmp_path / "report.html")
    text = capsys.readouterr().out
    assert "guidance=direct" in text
    assert "33.0 ± 3.6" in text
    assert "GT-known" in text
    assert "…" not in text
