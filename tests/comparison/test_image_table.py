"""The results by image of all runs, in one table."""

import sys

import pytest

from tests.comparison.fabricate import config_of, write_run

HEADER = "image,split,score_map,class,predicted,score,x0,y0,x1,y1,true_boxes,iou,localized\n"


@pytest.fixture
def runs(tmp_path):
    """SPG and SPG-plain; the second image has no ground-truth box."""
    for name, config, iou in (
        ("spg", config_of(), "0.750000,1"),
        ("plain", config_of("method=spg_plain"), "0.250000,0"),
    ):
        rows = f'a/1.jpg,test,b1,"Wren, house",Tit,0.5,1.5,2.0,30.0,40.0,"[[1.0, 2.0, 3.0, 4.0]]",{iou}\n'
        rows += "a/2.jpg,val,attention,Tit,,,0.0,0.0,9.0,9.0,[],,\n"
        (write_run(tmp_path / "runs" / name, config, 3, 30.0) / "images.csv").write_text(HEADER + rows)
    return tmp_path / "runs"


def test_every_run_and_image_is_a_row(cli, runs):
    parquet = pytest.importorskip("pyarrow.parquet")
    done = cli("report", f"runs={runs}", "per_image=true")
    assert done.code == 0, done.err
    rows = parquet.read_table(runs / "images.parquet").to_pylist()
    facts = {
        "seed": "3",
        "image": "a/1.jpg",
        "split": "test",
        "score_map": "b1",
        "class": "Wren, house",
        "predicted": "Tit",
    }
    facts |= {"score": 0.5, "true_boxes": "[[1.0, 2.0, 3.0, 4.0]]", "chosen": True}
    box = {"x0": 1.5, "y0": 2.0, "x1": 30.0, "y1": 40.0}
    assert rows[0] == {"run": "spg", "variant": "SPG", **facts, **box, "iou": 0.75, "localized": True}
    assert rows[2] == {"run": "plain", "variant": "SPG-plain", **facts, **box, "iou": 0.25, "localized": False}
    other = [(r["image"], r["predicted"], r["score"], r["iou"], r["localized"], r["chosen"]) for r in rows[1::2]]
    assert other == [("a/2.jpg", "", None, None, None, False)] * 2


def test_a_trained_run_has_the_columns(tiny_run, cli, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tiny_run[0].checkpoint.parents[1]
    done = cli("report", f"runs={folder}", f"output_dir={tmp_path / 'out'}", "per_image=true")
    assert done.code == 0, done.err
    assert len(parquet.read_table(tmp_path / "out" / "images.parquet")) == len(tiny_run[0].evaluation.images)


@pytest.mark.parametrize("text", [None, "", "image,class\na,b\n", HEADER + "a,test,b1,b,c,one,0,0,0,0,[],0,1\n"])
def test_an_unreadable_file_is_named(cli, runs, text):
    pytest.importorskip("pyarrow")
    path = runs / "plain" / "images.csv"
    path.unlink() if text is None else path.write_text(text)
    outcome = cli("report", f"runs={runs}", "per_image=true")
    assert f"{path} cannot be read" in outcome.line
    assert not (runs / "report.html").exists()


def test_without_pyarrow_the_extra_is_named(cli, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'spg-lightning[parquet]'" in cli("report", f"runs={runs}", "per_image=true").line
