"""The published figures: the papers' own numbers, and whether their data is ours."""

import pytest
import yaml

from spg_lightning.comparison.published_results import find_published
from spg_lightning.comparison.runs import collect
from spg_lightning.comparison.variants import group_runs
from tests.comparison.fabricate import config_of, write_run
from tests.conftest import SHARED


def test_whether_published_data_is_ours(tmp_path):
    full = config_of("dataset=cub", "stem=inception_v3")
    for name, config in (("full", full), ("toy", config_of()), ("swept", config_of("thresholds.b2.high=0.6"))):
        write_run(tmp_path / name / "run", config, 0, 40.0)
    facts = tmp_path / "full" / "run" / "provenance.json"
    facts.write_text(facts.read_text().replace('"test": 200', '"test": 5794'))
    remarks = {
        name: {row.source: row.remark for row in find_published(group_runs(collect(tmp_path / name)[0])[0])}
        for name in ("full", "toy", "swept")
    }
    assert remarks["full"]["SPG paper, table 2"] == "same data and network"
    assert remarks["full"]["SPG paper, tables 1 and 4"] == "other data"
    assert remarks["toy"]["SPG paper, table 2"] == "other data and network"
    assert remarks["swept"] == {}


@pytest.mark.shared
def test_published_figures_are_the_papers():
    from spg_lightning.comparison.published_results import _tables

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
