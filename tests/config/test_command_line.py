"""A user's mistake on the command line: one line that says what to do, exit code 1, no traceback."""

import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

from spg_lightning import UserError
from spg_lightning.utils.instantiate import instantiate_node
from tests.conftest import TINY
from tests.trees import replace_line, write_cub

OVERRIDES = {
    "unknown key": (["optimizer.learning_rate=1"], ["optimizer.learning_rate is not a key"]),
    "misspelt key": (
        ["optimizer.momentun=0.5"],
        ["optimizer.momentun is not a key", "Did you mean 'optimizer.momentum'?"],
    ),
    "key in the wrong place": (["max_epochs=3"], ["max_epochs is not a key", ".max_epochs'?"]),
    "misspelt group": (["metod=spg"], ["metod is not a key", "Did you mean 'method'?"]),
    "unknown choice": (["stem=inception_v2"], ["stem=inception_v2 does not exist", "Did you mean 'inception_v3'?"]),
    "unknown choice in a sweep": (["-m", "method=sgp,spg_plain"], ["method=sgp does not exist", "'spg'"]),
    "not an override": (["trainer.max_steps==", "x=[1"], ["cannot read an override"]),
    "low above high": (["thresholds.b1.high=0.1", "thresholds.b1.low=0.3"], ["thresholds.b1", "low=0.3 and high=0.1"]),
    "map size": (["stem.map_size=27"], ["stem.map_size=27", "28 or 14"]),
    "missing weights": (["stem.weights=/nowhere/w.pth"], ["/nowhere/w.pth does not exist"]),
    "score map the method lacks": (["method=spg_plain", "score_map=b1"], ["score_map=b1 needs branches"]),
    "batch larger than the data": (["dataset.batch_size=500"], ["dataset.batch_size=500"]),
    "window larger than the photo": (["dataset.crop=100"], ["dataset.crop=100"]),
    "an ablation undone": (["ablation=no_c", "fuse=on"], ["ablation=no_c means fuse=off", "leave out fuse=on"]),
    "an ablation of another method": (["ablation=spg", "method=has"], ["ablation=spg means method=spg"]),
    "no time for the workers": (["data.worker_timeout=-1"], ["data.worker_timeout=-1"]),
    "a number out of range": (["dataset.lr=-1"], ["dataset.lr=-1: choose a number, 0 or more"]),
    "no GPU": (["trainer.accelerator=gpu"], ["trainer.accelerator=gpu: torch sees no GPU", "trainer.accelerator=cpu"]),
    "a file for a folder": (["output_dir=/dev/null/run"], ["output_dir=/dev/null/run cannot be made a folder"]),
    "a missing value for a folder": (["output_dir=???"], ["output_dir=??? is no folder"]),
    "an interpolation of nothing": (["loss.guidance=${nothing}"], ["loss.guidance=${nothing}", "'nothing' not found"]),
    "an interpolation of itself": (["seed=${seed}"], ["seed=${seed}", "ecursi"]),
    "a long word for a group": (
        ["optimizer=" + "x" * 5000],
        ["optimizer=xxx", "does not exist; choose from adamw, sgd"],
    ),
    "a number for a group": (["normalize=0"], ["normalize=0 does not exist", "minmax"]),
    "a number for a part": (["data.reader=0.5"], ["data.reader=0.5: choose a node with _target_"]),
    "a word for a number": (["stem.network.a2_stage=low"], ["a2_stage", "choose a whole number"]),
    "which weights": (["eval_checkpoint=newest"], ["eval_checkpoint=newest", "last or best"]),
}


@pytest.fixture
def cub(tmp_path):
    return write_cub(tmp_path / "cub")


@pytest.mark.parametrize("name", OVERRIDES)
def test_overrides(cli, cub, name):
    if name == "no GPU" and torch.accelerator.is_available():
        pytest.skip("there is one")
    wrong, expected = OVERRIDES[name]
    tiny = [t for t in TINY if t.split("=")[0] not in {w.split("=")[0] for w in wrong}]
    outcome = cli("train", *tiny, f"dataset.root={cub}", "trainer.max_steps=1", *wrong)
    assert outcome.code == 1
    for words in expected:
        assert words in outcome.line


def test_cub_without_data_says_what_to_put_where(cli):
    outcome = cli("train", "stem=inception_v3", "dataset=cub", "stem.weights=none")
    assert outcome.code == 1
    for words in ("data/CUB_200_2011", "images.txt", "is missing", "dataset.root"):
        assert words in outcome.line


DATA = {
    "missing file": (lambda f: (f / "train_test_split.txt").unlink(), "train_test_split.txt is missing"),
    "id without a box": (lambda f: replace_line(f / "bounding_boxes.txt", "4 ", None), "no row for image 4"),
    "box outside": (lambda f: replace_line(f / "bounding_boxes.txt", "4 ", "4 50 5 40 10"), "exceeds its image"),
    "negative size": (lambda f: replace_line(f / "bounding_boxes.txt", "4 ", "4 5 5 -4 10"), "width=-4"),
    "label out of range": (lambda f: replace_line(f / "image_class_labels.txt", "4 ", "4 7"), "image 4 has class 7"),
    "photo missing": (lambda f: (f / "images/001.Class_0/Photo_3.jpg").unlink(), "Photo_3.jpg is missing"),
    "photo broken": (
        lambda f: (f / "images/001.Class_0/Photo_3.jpg").write_bytes(b"x"),
        "Photo_3.jpg is not a readable",
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_data(cli, cub, name):
    spoil, expected = DATA[name]
    spoil(cub)
    outcome = cli("train", *TINY, f"dataset.root={cub}", "trainer.max_steps=1")
    assert outcome.code == 1
    assert expected in outcome.line


def truncate(folder):
    for name in ("001.Class_0/Photo_3.jpg", "002.Class_1/Photo_2.jpg"):  # one to train, one to test
        photo = folder / "images" / name
        photo.write_bytes(photo.read_bytes()[:-300])


def test_training_uses_what_there_is_of_truncated_photos_and_names_them_once(cli, cub):
    truncate(cub)
    outcome = cli("train", *TINY, f"dataset.root={cub}", "trainer.max_epochs=3", "data.num_workers=2")
    assert outcome.code == 0, outcome.err
    assert "is broken" not in outcome.err
    assert outcome.err.count("cut off") == outcome.err.count("2 images cut off at the end") == 1
    for name in ("Photo_2.jpg", "Photo_3.jpg", "data.on_corrupt_image=skip"):
        assert name in outcome.err
    assert "of 12 images" in outcome.out


def test_training_survives_a_broken_photo_and_names_it(cli, cub):
    truncate(cub)
    outcome = cli("train", *TINY, f"dataset.root={cub}", "trainer.max_epochs=2", "data.on_corrupt_image=skip")
    assert outcome.code == 0, outcome.err
    assert "Photo_3.jpg is broken" in outcome.err
    assert "of 11 images" in outcome.out  # of 12 test images


def test_training_stops_at_a_broken_photo_if_asked(cli, cub):
    truncate(cub)
    outcome = cli("train", *TINY, f"dataset.root={cub}", "trainer.max_epochs=2", "data.on_corrupt_image=error")
    assert outcome.code == 1
    assert "is broken" in outcome.line


def test_a_checkpoint_that_is_none(cli, tmp_path):
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"state_dict": {"x": torch.zeros(1)}}, tmp_path / "foreign.ckpt")
    for file, words in (
        ("text.ckpt", "is damaged or not a checkpoint"),
        ("foreign.ckpt", "not written by"),
        ("none.ckpt", "no such file"),
    ):
        for name, more in (("evaluate", []), ("predict", ["images=."])):
            outcome = cli(name, f"checkpoint={tmp_path / file}", *more)
            assert outcome.code == 1
            assert file in outcome.line
            assert words in outcome.line


def test_what_is_needed_is_said(cli):
    assert "checkpoint=... is needed" in cli("predict").line
    assert "images=... is needed" in cli("predict", "checkpoint=x.ckpt").line


def test_a_checkpoint_named_by_a_number(cli):
    assert "checkpoint=inf: no such file" in cli("predict", "checkpoint=inf", "images=.").line


def test_a_folder_where_a_file_should_be(cli, tmp_path):
    """Any file that cannot be opened is named, whatever opens it."""
    from tests.trees import write_folder

    root = write_folder(tmp_path / "photos", "voc", classes=2, per_class=2)
    (root / "boxes/train/cat/0.xml").unlink()
    (root / "boxes/train/cat/0.xml").mkdir()
    done = cli("prepare", "dataset=folder", f"dataset.root={root}", "dataset.reader.boxes=boxes")
    assert "boxes/train/cat/0.xml: Is a directory; check the path" in done.line


def test_debug_shows_the_traceback(cli):
    outcome = cli("train", "dataset=cub", "debug=true", "stem.weights=none")
    assert outcome.code == 1
    assert "Traceback" in outcome.err


def test_our_own_mistakes_keep_their_traceback(cli, monkeypatch):
    monkeypatch.setattr("spg_lightning.config.build.build_data", None)
    outcome = cli("train", *TINY)
    assert outcome.code == 1
    assert "TypeError: 'NoneType' object is not callable" in outcome.err


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's own package with parts that raise."""
    folder = tmp_path / "project" / "raising"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "reader.py").write_text("def read(root, **settings):\n    raise KeyError('species')\n")
    (folder / "stem.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(folder.parent)
    for name in [name for name in sys.modules if name.split(".")[0] == "raising"]:  # of another test's folder
        monkeypatch.delitem(sys.modules, name)
    return folder


def test_an_own_part_that_raises_gets_file_line_and_message(cli, project):
    words = [*TINY[1:], "dataset.reader={_target_: raising.reader.read, _partial_: true, root: x}", "dataset=toybirds"]
    outcome = cli("train", *words)
    assert outcome.code == 1
    assert (
        outcome.line
        == f"error: 'species' (KeyError in {project / 'reader.py'}, line 2); debug=true shows the traceback"
    )
    assert "Traceback" in cli("train", *words, "debug=true").err


def test_a_part_that_cannot_be_imported_says_why(project):
    with pytest.raises(UserError) as stop:
        instantiate_node(OmegaConf.create({"network": {"_target_": "raising.stem.MyStem"}}))
    assert "No module named 'no_such_library'" in str(stop.value)
    assert f"(ModuleNotFoundError in {project / 'stem.py'}, line 1)" in str(stop.value)


def test_a_package_that_is_not_on_pythons_path_gets_the_way_out():
    with pytest.raises(UserError, match="install no_such_package, or set PYTHONPATH to the folder that it is in"):
        instantiate_node(OmegaConf.create({"network": {"_target_": "no_such_package.stems.MyStem"}}))


def test_a_key_of_another_choice_is_not_offered_for_adding(cli):
    line = cli("train", "dataset.reader.boxes=boxes.csv").line
    assert "dataset.reader.boxes is not a key of this config, but of dataset=folder." in line
    assert "adds a new one" not in line
    added = cli("train", *TINY[1:], "dataset=toybirds", "+dataset.reader.boxes=boxes.csv").line
    assert "dataset.reader: read_toybirds got an unexpected keyword argument 'boxes'; it takes root, " in added
    assert "+trainer.colour=... adds a new one" not in cli("train", "trainer.colour=1").line
    assert "+colour=... adds a new one" in cli("train", "colour=1").line


def test_several_values_without_a_sweep(cli):
    assert "trainer.devices=[0],[1] are several values: add -m" in cli("train", "trainer.devices=[0],[1]").line


STUCK = """
import signal, sys, time
from spg_lightning.data.images import ImageDataset
from spg_lightning.train import main

def never(self, index):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

ImageDataset.__getitem__ = never
if __name__ == "__main__":
    main()
"""


def test_a_loader_process_that_is_stuck_ends_the_run(cub, tmp_path):
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    tiny = [word for word in TINY if not word.startswith("data.num_workers")]
    words = [
        *tiny,
        f"dataset.root={cub}",
        f"output_dir={tmp_path / 'run'}",
        "data.num_workers=1",
        "data.worker_timeout=2",
    ]
    ended = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "DataLoader timed out after 2 seconds (worker_timeout)" in ended.stderr.splitlines()[-1]
