"""Boxes in place of val's ground truth: drawn, from a file, in training and in an evaluation."""

import json

import numpy as np
import pytest

from spg_lightning import UserError, compose, evaluate
from spg_lightning.data.readers.benchmark_metadata import read_boxes
from tests.callbacks.helpers import run

SMALL = (
    "stem.weights=imagenet", "stem.pretrained.weights=imagenet", "training_free.image_side=64", "training_free.side=16",
    "training_free.refine.side=32", "score_map.name=[b1,c]", "trainer.max_epochs=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def forced(cub, tmp_path_factory):
    """A run on a data set whose val images have boxes, which are not used."""
    folder = tmp_path_factory.mktemp("forced")
    patch = pytest.MonkeyPatch()
    patch.setenv("SPG_LIGHTNING_CACHE", str(folder / "cache"))
    run(cub, folder / "run", *SMALL, "pseudo_boxes=always")
    yield folder
    patch.undo()


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_pseudo_boxes_replace_those_of_val(cub, forced, tmp_path):
    run(cub, tmp_path, *SMALL)
    own, pseudo = metrics_of(tmp_path), metrics_of(forced / "run")
    assert own["val/b1/energy_in_box"] != pseudo["val/b1/energy_in_box"]
    # the weights and the test images are the same: only the choice differs
    assert own["test/b1/gt_known_error_oracle"] == pseudo["test/b1/gt_known_error_oracle"]
    assert own["test/num_boxed"] == pseudo["test/num_boxed"] > 0
    assert json.loads((forced / "run/provenance.json").read_text())["pseudo_boxes"] == "feature_norm"
    assert not (tmp_path / "pseudo_boxes.txt").exists()


def test_the_boxes_are_written_in_the_benchmarks_format_and_read_again(cub, forced, tmp_path, caplog):
    rows = [line.split(",") for line in (forced / "run/pseudo_boxes.txt").read_text().splitlines()]
    assert len(rows) == metrics_of(forced / "run")["val/num_images"]
    for image, *corners in rows:
        assert (cub / "images" / image).is_file()
        x0, y0, x1, y1 = map(float, corners)
        assert 0 <= x0 < x1
        assert 0 <= y0 < y1
    run(cub, tmp_path, *SMALL, f"pseudo_boxes={forced / 'run/pseudo_boxes.txt'}")
    assert metrics_of(tmp_path) == metrics_of(forced / "run")
    assert "val's own boxes and masks are not used: boxes of pseudo_boxes.txt choose map and threshold" in caplog.text


def test_an_evaluation_takes_those_of_the_training_or_its_own(cub, forced, tmp_path):
    words = [
        f"checkpoint={forced / 'run/checkpoints/last.ckpt'}",
        f"root={cub}",
        "num_workers=0",
        "gallery_images=0",
        "score_map.name=[b1,c]",
    ]
    for name, override in (("as", ()), ("file", (f"pseudo_boxes={forced / 'run/pseudo_boxes.txt'}",))):
        evaluate(compose("evaluate", [*words, f"output_dir={tmp_path / name}", *override]))
        assert metrics_of(tmp_path / name)["val/b1/energy_in_box"] == metrics_of(forced / "run")["val/b1/energy_in_box"]
        assert (tmp_path / name / "pseudo_boxes.txt").read_bytes() == (forced / "run/pseudo_boxes.txt").read_bytes()
    evaluate(compose("evaluate", [*words, f"output_dir={tmp_path / 'own'}", "pseudo_boxes=auto"]))
    assert metrics_of(tmp_path / "own")["val/b1/energy_in_box"] != metrics_of(forced / "run")["val/b1/energy_in_box"]
    assert not (tmp_path / "own/pseudo_boxes.txt").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "pseudo_boxes=.*/boxes.txt: choose auto, always, or a file of rows .* which is missing"),
        ("", "pseudo_boxes=.*/boxes.txt has no box of a val image; their ids are like 0"),
        ("elsewhere.jpg,1,2,3,4\n", "has no box of a val image"),
        ("{image},1,2,3\n", "boxes.txt, line 1: cannot read '.*,1,2,3'; rows are <image id>,<x0>,<y0>"),
        ("{image},9,2,3,4\n", "boxes.txt, line 1: the box 9, 2, 3, 4 of .* ends before it begins"),
        ("{image},mask.png\n", "boxes.txt: rows name masks; give boxes, <image id>,<x0>,<y0>,<x1>,<y1>"),
    ],
)
def test_mistakes_have_a_line(cub, forced, tmp_path, rows, message):
    file = tmp_path / "boxes.txt"
    if rows is not None:
        image = (forced / "run/pseudo_boxes.txt").read_text().split(",")[0]
        file.write_text(rows.format(image=image))
    with pytest.raises(UserError, match=message):
        run(cub, tmp_path / "run", *SMALL, f"pseudo_boxes={file}")


def test_without_pretrained_weights_there_are_none_to_draw(cub, tmp_path):
    with pytest.raises(UserError, match="pseudo_boxes=always needs a training-free map"):
        run(cub, tmp_path, "pseudo_boxes=always", "stem.weights=none", "training_free=none")
    with pytest.raises(UserError, match="pseudo_boxes=3: choose auto, always, or a file of rows"):
        run(cub, tmp_path, "pseudo_boxes=3")
    with pytest.raises(UserError, match="pseudo_boxes=null: choose auto, always, or a file of rows"):
        run(cub, tmp_path, "pseudo_boxes=null")


def test_images_may_have_several_boxes_or_none(tmp_path):
    (tmp_path / "b.txt").write_text("a.jpg,1,2,3,4\nother.jpg,0,0,1,1\na.jpg,5,6,7,8.5\n")
    boxes, offsets = read_boxes(tmp_path / "b.txt", ["c.jpg", "a.jpg"])
    np.testing.assert_array_equal(boxes, [[1, 2, 3, 4], [5, 6, 7, 8.5]])
    assert offsets.tolist() == [0, 0, 2]
