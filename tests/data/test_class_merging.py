"""Merged classes: labels against a hand-made table, the same images in every split, and mistakes."""

import json

import numpy as np
import pytest

from spg_lightning.config.build import build_data
from spg_lightning.config.compose import compose
from spg_lightning.data.class_merging import ClassMerging
from spg_lightning.errors import UserError
from tests.conftest import TINY
from tests.trees import write_cub

CLASSES = ("wren", "gull", "tit", "tern")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("merging") / "cub", classes=4)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "coarse.csv"
    path.write_text("class,merged\n004.Class_3,sea\n002.Class_1,sea\n")
    return path


def test_merged_by_hand(tmp_path):
    (tmp_path / "t.csv").write_text('tern,"sea, bird"\ngull,"sea, bird"\ntit,wren\n')
    merging = ClassMerging.read(str(tmp_path / "t.csv"), CLASSES)
    assert merging.class_names == ("wren", "sea, bird")
    assert merging.new_label.tolist() == [0, 1, 0, 1]


def test_the_images_of_a_split_stay(folder, table):
    own, merged = (
        build_data(compose("train", [*TINY, f"dataset.root={folder}", *words, "output_dir=x"]))
        for words in ((), (f"data.merge_classes={table}",))
    )
    assert merged.class_names == ("001.Class_0", "sea", "003.Class_2")
    own.setup()
    for split in ("train", "val", "test"):
        before, after = own.records[split], merged.records[split]
        assert list(before.images) == list(after.images)
        assert np.array_equal(before.boxes, after.boxes)
        assert after.labels.tolist() == [[0, 1, 2, 1][label] for label in before.labels]
        assert after.class_names == merged.class_names


def test_what_was_trained_evaluates(folder, table, cli, tmp_path):
    run = (*TINY, f"dataset.root={folder}", "trainer.max_steps=1", "logger=none", f"output_dir={tmp_path}/run")
    assert cli("train", *run, f"data.merge_classes={table}").code == 0
    given = (
        f"checkpoint={tmp_path}/run/checkpoints/last.ckpt",
        "num_workers=0",
        "num_thresholds=50",
        "gallery_images=0",
    )
    moved = table.rename(tmp_path / "moved.csv")
    assert "is missing" in cli("evaluate", *given, f"output_dir={tmp_path}/a").line
    done = cli("evaluate", *given, f"merge_classes={moved}", f"output_dir={tmp_path}/b")
    assert done.code == 0, done.err
    trained, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("run", "b"))
    assert again == pytest.approx(trained)
    assert ",sea," in (tmp_path / "b" / "images.csv").read_text()
    done = cli("predict", *given[:1], "split=test", "num_workers=0", f"output_dir={tmp_path}/predicted")
    assert done.code == 0, done.err


MISTAKES = {
    "unknown": ("wern,x\n", "t.csv, line 1: the data set has no class wern. Did you mean 'wren'?"),
    "twice": ("class,merged\nwren,x\nwren,y\n", "t.csv, line 3: the class wren is listed twice"),
    "no target": ("wren,\n", "t.csv, line 1: wren has no merged class"),
    "too coarse": ("wren,x\ngull,x\ntit,x\ntern,x\n", "merges all classes into x"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path, name):
    text, expected = MISTAKES[name]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError) as raised:
        ClassMerging.read(str(tmp_path / "t.csv"), CLASSES)
    assert expected in str(raised.value)
    with pytest.raises(UserError, match=r"data.merge_classes=nowhere.csv is missing"):
        ClassMerging.read("nowhere.csv", CLASSES)
