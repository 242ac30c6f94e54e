"""Boxes of a few images a class: which images, which masks, a run that learns from them, and mistakes."""

import csv

import numpy as np
import pytest

from spg_lightning.callbacks.few_shot import BoxSeeds, FewShotBoxes
from spg_lightning.data.records import Records
from spg_lightning.errors import UserError
from tests.callbacks.helpers import SMALL, run
from tests.trees import write_cub


@pytest.fixture
def records(tmp_path):
    """Twelve images of two classes; the first two of each class have no box, the others one or two."""
    counts = np.array([0, 0, 1, 2, 1, 1] * 2)
    return Records(
        root=tmp_path,
        images=tuple(f"{i}.jpg" for i in range(12)),
        labels=np.repeat([0, 1], 6),
        sizes=np.full((12, 2), (40, 20)),
        boxes=np.tile([[4.0, 2.0, 12.0, 10.0], [30.0, 0.0, 40.0, 20.0]], (5, 1)),
        box_offsets=np.concatenate([[0], counts.cumsum()]),
        class_names=("wren", "tit"),
    )


def test_so_many_images_of_each_class_are_drawn_and_more_add_to_them(records):
    drawn = {count: BoxSeeds(records, count, seed=3).chosen for count in (1, 3, 9)}
    assert drawn[1] < drawn[3] < drawn[9]
    assert drawn[9] == {2, 3, 4, 5, 8, 9, 10, 11}  # all with boxes
    assert [sum(index < 6 for index in drawn[count]) for count in (1, 3)] == [1, 3]
    assert len(drawn[1]) == 2
    assert len({BoxSeeds(records, 1, seed).chosen for seed in range(20)}) > 1
    assert BoxSeeds(records, 1, seed=3).chosen == drawn[1]


def test_masks_are_the_boxes_and_other_images_are_ignored(records):
    seeds = BoxSeeds(records, 4, seed=0)
    expected = np.zeros((10, 20), np.int8)  # half the image's size
    expected[1:5, 2:6] = 1
    assert np.array_equal(seeds.mask(2, (20, 10), epoch=0), expected)
    expected[:, 15:20] = 1  # and a second box
    assert np.array_equal(seeds.mask(3, (20, 10), epoch=7), expected)
    assert (seeds.mask(0, (20, 10), epoch=0) == -1).all()


def losses(folder, branch):
    with (folder / "metrics.csv").open() as file:
        return [float(row[f"train/loss_{branch}"]) for row in csv.DictReader(file) if row.get(f"train/loss_{branch}")]


def test_a_run_learns_from_the_boxes(cub, tmp_path):
    run(cub, tmp_path / "run", "guidance=few_shot", "callbacks.few_shot.per_class=2", "trainer.max_epochs=4")
    for branch in ("b1", "b2", "c"):
        found = losses(tmp_path / "run", branch)
        assert all(np.isfinite(found))
        assert max(found) > 0.1, "some batches hold a box"


MISTAKES = {
    "guidance=few_shot callbacks.few_shot.per_class=0": "callbacks.few_shot.per_class=0: choose a whole number",
    "guidance=few_shot method=spg_plain": "guidance=few_shot supervises SPG's branches",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(cub, cli, tmp_path, words):
    outcome = cli("train", *SMALL, f"dataset.root={cub}", f"output_dir={tmp_path / 'x'}", *words.split())
    assert MISTAKES[words] in outcome.line


def test_a_data_set_without_boxes(cli, tmp_path):
    root = write_cub(tmp_path / "cub") / "images"
    outcome = cli(
        "train", *SMALL, "dataset=folder", f"dataset.root={root}", f"output_dir={tmp_path / 'x'}", "guidance=few_shot"
    )
    assert "guidance=few_shot needs boxes of training images" in outcome.line


def test_the_number_is_whole():
    with pytest.raises(UserError, match=r"per_class=1.5"):
        FewShotBoxes(per_class=1.5)
