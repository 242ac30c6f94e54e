"""A project of one's own: its parts train, resume, evaluate, predict and are refused where nobody trusts them."""

import json
import os
import subprocess
import sys

import pytest
import torch

from spg_lightning import UserError, compose, evaluate, read_toybirds, report, train
from tests.callbacks.helpers import Died, assert_same, dies
from tests.conftest import ROOT

PROJECT = ROOT / "examples" / "birdwatch"
CHOICES = (
    "stem=small", "method=erase", "guidance=patient", "dataset=listed", "augmentation=vignette", "callbacks=pace",
    "logger=csv", "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "data.num_workers=0", "gallery_images=1",
    "report_images=1", "module.num_thresholds=50", "callbacks.progress=null", "trainer.max_epochs=2",
    "score_map.name=[product,b1]",
)  # fmt: skip
SEARCH = "hydra.searchpath=[pkg://birdwatch.conf]"


@pytest.fixture(scope="module", autouse=True)
def importable():
    sys.path.insert(0, str(PROJECT))
    yield
    sys.path.remove(str(PROJECT))


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Toy birds in the project's own format."""
    splits = read_toybirds(str(tmp_path_factory.mktemp("birds")), 24, 16, 0)
    lines = []
    for split, records in (("train", splits.train), ("test", splits.test)):
        for i in range(len(records)):
            box = " ".join(f"{corner:g}" for corner in records.boxes_of(i)[0])
            lines.append(f"{split} {records.images[i]} {records.class_names[records.labels[i]]} {box}")
    (splits.train.root / "birds.txt").write_text("\n".join(lines) + "\n")
    return splits.train.root


def own(birds, folder, *more):
    return train(
        compose(
            "train", [SEARCH, "score_map=product", *CHOICES, f"dataset.root={birds}", f"output_dir={folder}", *more]
        )
    )


@pytest.fixture(scope="module")
def trained(birds, tmp_path_factory):
    return own(birds, tmp_path_factory.mktemp("birdwatch") / "run")


def test_its_parts_train(trained):
    config = (trained.output_dir / "config.yaml").read_text()
    for part in ("stems.SmallStem", "methods.erase_step", "guidance.patient", "score_maps.Product", "readers.read_listed",
                 "augmentation.Vignette", "callbacks.Pace"):  # fmt: skip
        assert f"birdwatch.{part}" in config
    assert {"product", "b1"} == set(trained.evaluation.per_map)
    assert "pace/minutes" in (trained.output_dir / "metrics.csv").read_text()
    network = torch.load(trained.checkpoint, weights_only=True)["state_dict"]
    assert network["network.stem.a1.0.0.weight"].shape == (16, 3, 3, 3)


def test_its_logger(birds, tmp_path):
    own(birds, tmp_path, "logger=lines", "trainer.max_steps=1")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert any("train/loss_total" in line for line in lines)
    assert "test/gt_known_error" in lines[-1]


def test_it_resumes_bit_by_bit(birds, trained, tmp_path):
    with pytest.raises(Died):
        own(birds, tmp_path, *dies(2), "checkpoint_every_steps=1")
    own(birds, tmp_path, "resume=auto")
    assert_same(tmp_path, trained.output_dir, ignore=("pace/minutes",))


def test_a_checkpoint_of_its_parts_is_refused_unless_trusted(trained, tmp_path):
    words = [f"checkpoint={trained.checkpoint}", "accelerator=cpu", "num_workers=0", "num_thresholds=50", "gallery_images=1",
             "score_map.name=[product,b1]", f"output_dir={tmp_path}"]  # fmt: skip
    with pytest.raises(UserError, match=r"would construct birdwatch.stems.SmallStem, .* add trust=\[birdwatch\]"):
        evaluate(compose("evaluate", words))
    found = evaluate(compose("evaluate", [*words, "trust=[birdwatch]"]))
    assert found.metrics == pytest.approx(trained.metrics)


def test_it_predicts_and_reports(trained, birds, cli, tmp_path):
    image = next(birds.rglob("*.jpg"))
    outcome = cli(
        "predict", f"checkpoint={trained.checkpoint}", f"images={image}", f"output_dir={tmp_path / 'boxes'}",
        "score_map=product", SEARCH, "trust=[birdwatch]", "threshold=0.3",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    (row,) = json.loads((tmp_path / "boxes/predictions.json").read_text())
    assert row["box"]["x1"] > row["box"]["x0"]
    assert len(report(compose("report", [f"runs={trained.output_dir.parent}", f"output_dir={tmp_path}"])).variants) == 1


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("method.network.stem", "os.system"),
        ("method.network.stem.extra", "builtins.eval"),
        ("method.network.stem", "birdwatch.loggers.json.loads"),
        ("method.network.stem", "birdwatch.loggers.Path"),
        ("method.network.stem", "birdwatch.stems.nn.Sequential"),
    ],
)
def test_a_malicious_checkpoint_is_refused_even_if_the_project_is_trusted(trained, tmp_path, cli, key, target):
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    node = checkpoint["spg_lightning"]["config"]
    *above, last = key.split(".")
    for name in above:
        node = node[name]
    node[last] = {"_target_": target, "_args_": [f"touch {tmp_path / 'owned'}"]}
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    for command, more in (("evaluate", []), ("predict", [f"images={tmp_path}"])):
        outcome = cli(command, f"checkpoint={tmp_path / 'evil.ckpt'}", "trust=[birdwatch]", *more)
        assert outcome.code == 1
        assert f"would construct {target}" in outcome.line
    assert not (tmp_path / "owned").exists()


CONF = PROJECT / "birdwatch" / "conf"


@pytest.mark.parametrize(
    "way", [["--config-dir", str(CONF)], [f"hydra.searchpath=[{CONF}]"], [SEARCH]], ids=["flag", "path", "pkg"]
)
@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "prepare", "report"])
def test_every_command_finds_its_groups(cli, command, way):
    group, choice = ("dataset", "listed") if command in ("train", "prepare") else ("score_map", "product")
    needed = {
        "predict": ["checkpoint=x", "images=x"],
        "report": ["runs=x"],
        "prepare": ["dataset.root=x"],
        "train": ["dataset.root=x"],
    }
    outcome = cli(command, *way, f"{group}={choice}", *needed.get(command, []), "--cfg", "job")
    assert outcome.code == 0, outcome.err
    assert "birdwatch." in outcome.out
    line = cli(command, *way, f"{group}={choice[:-1]}").line
    assert f"Did you mean '{choice}'?" in line


def test_a_config_folder_that_is_missing(cli):
    assert "--config-dir nowhere is not a folder" in cli("train", "--config-dir", "nowhere").line


@pytest.mark.slow
@pytest.mark.parametrize("way", [["--config-dir", str(CONF)], [SEARCH]], ids=["flag", "pkg"])
def test_help_and_a_sweep_of_two_processes_find_its_groups(birds, tmp_path, way):
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "spg_lightning.train", *way]
    shown = subprocess.run([*command, "--help"], env=env, capture_output=True, text=True, check=True).stdout
    assert "stem: efficientnet_lite0, inception_v3, resnet50, small, timm, vgg16" in shown
    words = [*CHOICES, "score_map=product", "method=erase,spg", f"dataset.root={birds}", f"output_dir={tmp_path}", "trainer=ddp",
             "trainer.accelerator=cpu", "trainer.devices=2", "dataset.batch_size=4", "trainer.max_epochs=1"]  # fmt: skip
    words = [word for word in words if word not in ("method=erase", "trainer.max_epochs=2")]
    done = subprocess.run([*command, "-m", *words], env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*/metrics.json"))) == 2


def test_an_error_in_a_part_of_ones_own_names_its_line(birds, cli):
    outcome = cli("train", SEARCH, *CHOICES, "score_map=product", f"dataset.root={birds}", "stem.network.width=-1")
    assert outcome.code == 1
    assert "method.network.stem: " in outcome.line
    (birds / "broken").mkdir(exist_ok=True)
    (birds / "broken" / "birds.txt").write_text("train a.jpg\n")
    line = cli("train", SEARCH, *CHOICES, "score_map=product", f"dataset.root={birds / 'broken'}").line
    assert "birds.txt, line 1: expected" in line


def test_prepare_verifies_images_of_a_reader_of_ones_own(birds, cli, tmp_path):
    import shutil

    shutil.copytree(birds, tmp_path / "birds")
    words = [SEARCH, "dataset=listed", f"dataset.root={tmp_path / 'birds'}", "num_workers=1"]
    outcome = cli("prepare", *words)
    assert outcome.code == 0, outcome.err
    assert "listed: 24 train, 16 test images of 8 classes" in outcome.err
    image = next((tmp_path / "birds").rglob("*.jpg"))
    image.write_bytes(image.read_bytes()[:3000])
    outcome = cli("prepare", *words)
    assert outcome.code == 1
    assert image.name in outcome.err
    assert "1 finding," in outcome.line
