"""The command `train`: its files, its switches, and the same numbers for the same seed."""

import csv
import json

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from PIL import Image

from spg_lightning import build_network, compose, evaluate, train
from spg_lightning.reporting.gallery import SIDE
from tests.callbacks.helpers import run
from tests.conftest import TINY
from tests.trees import write_cub

PROMISED = [
    "cls_top1_error",
    "cls_top5_error",
    "loc_top1_error",
    "loc_top5_error",
    "gt_known_error",
    "max_box_acc",
    "max_box_acc_v2",
    "max_box_acc_iou30",
    "max_box_acc_iou50",
    "max_box_acc_iou70",
    "pxap",
    "threshold",
    "num_images",
    "floor_center_gt_known_error",
    "floor_whole_gt_known_error",
    "gt_known_error_oracle",
    "loc_top1_error_oracle",
    "max_box_acc_oracle",
    "max_box_acc_v2_oracle",
]


def test_a_run_folder_holds_what_is_promised(tiny_run):
    result, _ = tiny_run
    metrics = json.loads((result.output_dir / "metrics.json").read_text())
    assert all(isinstance(value, int | float) for value in metrics.values())
    for name in PROMISED:
        assert f"test/{name}" in metrics, name
    for name in ("attention", "c", "fused", "b1", "b2"):
        assert f"test/{name}/gt_known_error" in metrics
    assert metrics["test/num_images"] == 12
    assert metrics["val/num_images"] == 3
    facts = json.loads((result.output_dir / "provenance.json").read_text())
    assert facts["seed"] == 0
    assert facts["steps"] == 2
    # the metadata of CPU wheels names the build, that of PyPI's does not
    assert facts["versions"]["torch"] in (torch.__version__, torch.__version__.split("+")[0])
    assert facts["photos"] == {"train": 9, "val": 3, "test": 12}
    assert OmegaConf.load(result.output_dir / "config.yaml").dataset.crop == 64
    for name in ("last", "best"):
        assert (result.output_dir / "checkpoints" / f"{name}.ckpt").is_file()
    overview = Image.open(result.output_dir / "gallery" / "overview.png")
    # ground truth, attention, three masks, perhaps the chosen map, its mask, the box
    assert overview.width in (7 * (SIDE + 6) + 6, 8 * (SIDE + 6) + 6)
    assert len(list((result.output_dir / "gallery").glob("*.png"))) == 3
    rows = list(csv.DictReader((result.output_dir / "metrics.csv").open()))
    assert any(row["val/gt_known_error"] for row in rows)
    assert any(row["lr-SGD/new_weight"] for row in rows)


def test_the_chosen_map_is_the_best_on_val(tiny_run):
    evaluation = tiny_run[0].evaluation
    errors = {name: numbers["val/gt_known_error"] for name, numbers in evaluation.per_map.items()}
    assert errors[evaluation.score_map] == min(errors.values())
    assert evaluation.metrics["test/gt_known_error"] == evaluation.per_map[evaluation.score_map]["test/gt_known_error"]


def shapes(run):
    state = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    return {name.removeprefix("network."): tuple(value.shape) for name, value in state.items()}


def weight(run, name="network.a4.weight"):
    return torch.load(run.checkpoint, weights_only=True)["state_dict"][name]


def logged(run, column):
    with (run.output_dir / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


def branches(run):
    return {name.split(".")[0] for name in shapes(run)} & {"b1", "b2", "c", "shared", "a4_erase"}


# each switch with a function of (its run, the default run) that is true only if the switch did something
SWITCHES = {
    ("method=spg_plain",): lambda run, base: (
        list(run.evaluation.per_map) == ["attention"] and not logged(run, "train/loss_b1")
    ),
    ("method=cam",): lambda run, base: (
        list(run.evaluation.per_map) == ["attention"] and not logged(run, "train/loss_b1")
    ),
    ("method=has", "method.step.grid_size=8"): lambda run, base: differs(run, base, "method=spg_plain"),
    ("method=cutmix", "method.step.probability=1.0"): lambda run, base: differs(run, base, "method=spg_plain"),
    ("method=adl",): lambda run, base: differs(run, base, "method=spg_plain"),
    ("method=acol",): lambda run, base: len(shapes(run)) != len(shapes(base)) and not logged(run, "train/loss_b1"),
    ("guidance=direct",): lambda run, base: (
        logged(run, "train/loss_b2")[0] == logged(base, "train/loss_b2")[0]
        and logged(run, "train/loss_b1")[0] != logged(base, "train/loss_b1")[0]
    ),
    ("shared_weights=off", "fuse=off"): lambda run, base: (
        "c" not in run.evaluation.per_map and len(shapes(run)) > len(shapes(base)) - 8
    ),
    ("schedule=step", "schedule.every_epochs=1", "schedule.factor=0.5", "trainer.max_epochs=2"): lambda run, base: (
        set(logged(run, "lr-SGD/new_weight")) == {0.01, 0.005}
    ),
    ("schedule=constant", "thresholds=benchmark_default"): lambda run, base: (
        len(set(logged(run, "lr-SGD/new_weight"))) == 1
        and logged(run, "train/mask_b2/ignored")[0] != logged(base, "train/mask_b2/ignored")[0]
    ),
    ("module.freeze=a1",): lambda run, base: frozen(run, "a1") and not frozen(run, "a2"),
    ("module.freeze=backbone",): lambda run, base: frozen(run, "a1") and frozen(run, "a2"),
    ("optimizer=adamw",): lambda run, base: logged(run, "lr-AdamW/new_weight") and not logged(run, "lr-SGD/new_weight"),
    ("loss.weights.b1=0.5",): lambda run, base: (
        logged(run, "train/loss_b1")[0] == logged(base, "train/loss_b1")[0]
        and logged(base, "train/loss_total")[0] - logged(run, "train/loss_total")[0]
        == pytest.approx(0.5 * logged(base, "train/loss_b1")[0], rel=1e-4)
    ),
    ("augmentation=none",): lambda run, base: logged(run, "train/loss_cls")[0] != logged(base, "train/loss_cls")[0],
    ("augmentation=color",): lambda run, base: logged(run, "train/loss_cls")[0] != logged(base, "train/loss_cls")[0],
    ("score_map=attention", "eval_checkpoint=best"): lambda run, base: (
        list(run.evaluation.per_map) == ["attention"] and run.checkpoint.name == "best.ckpt"
    ),
    ("callbacks.best=null", "callbacks.progress=null", "callbacks.learning_rate=null"): lambda run, base: (
        not (run.output_dir / "checkpoints/best.ckpt").exists() and not logged(run, "lr-SGD/new_weight")
    ),
    ("logger=none",): lambda run, base: not (run.output_dir / "metrics.csv").exists(),
    ("stem.map_size=14", "stem.network.a1_stage=4", "method.network.b2_input=a2"): lambda run, base: (
        shapes(run) != shapes(base)
    ),
    ("module.channels_last=false",): lambda run, base: bool((weight(run) != weight(base)).any()),
}


def differs(run, base, other):
    """The same network as that of `other`, trained with another step."""
    plain = train(
        compose("train", [*TINY, "logger=csv", other, *base_words(base), f"output_dir={run.output_dir}-plain"])
    )
    return shapes(run) == shapes(plain) and logged(run, "train/loss_cls")[0] != logged(plain, "train/loss_cls")[0]


def base_words(base):
    config = OmegaConf.load(base.output_dir / "config.yaml")
    return [f"dataset.root={config.dataset.root}", "trainer.max_epochs=1"]


def frozen(run, part):
    """The weights of a part of the stem are those that the seed drew."""
    cfg = OmegaConf.load(run.output_dir / "config.yaml")
    pl.seed_everything(cfg.seed, verbose=False)
    initial = build_network(cfg, 3).stem.state_dict()
    final = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    changed = {name for name, value in initial.items() if not torch.equal(value, final[f"network.stem.{name}"])}
    return not any(name.startswith(f"{part}.") for name in changed)  # not a1_norm, which is new


@pytest.mark.parametrize("overrides", SWITCHES, ids=" ".join)
def test_every_switch_does_something(tiny_run, tmp_path, overrides):
    base, data = tiny_run
    words = [*TINY, "logger=csv", f"dataset.root={data}", "trainer.max_epochs=1", f"output_dir={tmp_path / 'run'}"]
    run = train(compose("train", [*words, *overrides]))
    assert run.metrics["test/num_images"] == 12
    assert SWITCHES[overrides](run, base)


def test_same_seed_same_numbers(tiny_run, tmp_path):
    result, data = tiny_run
    cfg = compose("train", [*TINY, f"dataset.root={data}", "trainer.max_epochs=1", f"output_dir={tmp_path}"])
    again = train(cfg)
    assert again.metrics == result.metrics
    ours, theirs = (torch.load(r.checkpoint, weights_only=True)["state_dict"] for r in (again, result))
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_wandb_off_line(tiny_run, tmp_path, monkeypatch):
    """A run without a key is kept on disk and asks for nothing."""
    _, data = tiny_run
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    cfg = compose(
        "train",
        [*TINY, f"dataset.root={data}", "trainer.max_steps=1", f"output_dir={tmp_path / 'run'}", "logger=wandb"],
    )
    train(cfg)
    assert list((tmp_path / "run").rglob("*.wandb"))


@pytest.mark.slow
def test_inception_trains_two_steps_on_cub(tiny_run, cli):
    _, data = tiny_run
    outcome = cli(
        "train", "stem=inception_v3", "dataset=cub", f"dataset.root={data}", "trainer.max_steps=2", "stem.weights=none",
        "dataset.batch_size=2", "data.num_workers=0", "gallery_images=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_the_last_checkpoint_is_the_last_and_what_was_measured(tmp_path):
    data = write_cub(tmp_path / "cub")
    tiny = [*TINY, f"dataset.root={data}", "trainer.max_epochs=3", "logger=none", "gallery_images=0", "report_images=0"]
    result = train(compose("train", [*tiny, "callbacks.best.mode=max", f"output_dir={tmp_path / 'run'}"]))
    steps = {
        name: torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)["global_step"]
        for name in ("best", "last")
    }
    assert steps["best"] < steps["last"] == 6, "the best has to be an earlier one to prove anything"
    again = evaluate(
        compose(
            "evaluate",
            [f"checkpoint={result.checkpoint}", f"root={data}", "num_workers=0", "gallery_images=0", "report_images=0",
             "accelerator=cpu", "num_thresholds=50", f"output_dir={tmp_path / 'again'}"],
        )
    )  # fmt: skip
    for split in ("val", "test"):
        for name, curves in result.evaluation.curves[split].items():
            other = again.curves[split][name]
            assert (curves.top1, curves.top5) == (other.top1, other.top5)
            assert abs(curves.hits - other.hits).max() <= 1  # a box at the edge of a threshold


@pytest.mark.parametrize("epochs", [100, -1, "null"])
def test_a_schedule_by_epochs_under_a_limit_of_steps(cub, tmp_path, epochs):
    steps = (
        "schedule=step",
        "schedule.every_epochs=1",
        "schedule.factor=0.1",
        f"trainer.max_epochs={epochs}",
        "trainer.max_steps=5",
    )
    run(cub, tmp_path, *steps, "keep_resume_state=true")
    (schedule,) = torch.load(tmp_path / "checkpoints/resume.ckpt", weights_only=True)["lr_schedulers"]
    assert min(schedule["_last_lr"]) == pytest.approx(0.1 * 0.001)  # after five steps, three an epoch
