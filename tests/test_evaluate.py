"""The command `evaluate` on checkpoints."""

import json
from pathlib import Path

import pytest
import torch

from spg_lightning import compose, evaluate
from tests.trees import write_cub


def test_evaluate_reproduces_the_metrics_of_training(tiny_run, cli, tmp_path):
    result, _ = tiny_run
    outcome = cli(
        "evaluate", f"checkpoint={result.checkpoint}", f"output_dir={tmp_path}", "num_thresholds=50", "num_workers=0",
        "accelerator=cpu", "gallery_images=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    again = json.loads((tmp_path / "metrics.json").read_text())
    assert again == pytest.approx(result.metrics)
    assert not list(Path.cwd().iterdir())  # everything went to output_dir


def test_evaluate_on_a_moved_data_set_and_on_other_classes(tiny_run, cli, tmp_path):
    result, data = tiny_run
    data.rename(tmp_path / "moved")
    common = (f"checkpoint={result.checkpoint}", f"output_dir={tmp_path / 'out'}", "num_workers=0", "gallery_images=0")
    try:
        outcome = cli("evaluate", *common)
        assert outcome.code == 1
        assert "is missing" in outcome.line
        assert cli("evaluate", *common, f"root={tmp_path / 'moved'}", "num_thresholds=50").code == 0
        named = ("dataset=cub", f"dataset.root={tmp_path / 'moved'}", "num_thresholds=50")
        assert cli("evaluate", *common, *named).code == 0
        other = write_cub(tmp_path / "other", classes=2)
        assert "knows 3 classes" in cli("evaluate", *common, f"root={other}").line
    finally:
        (tmp_path / "moved").rename(data)


def test_an_evaluation_ignores_the_optimizer(tiny_run, cli, tmp_path):
    checkpoint = torch.load(tiny_run[0].checkpoint, weights_only=True)
    checkpoint["spg_lightning"]["config"]["module"]["optimizer"] = {"_target_": "mine.optimizer"}
    torch.save(checkpoint, tmp_path / "mine.ckpt")
    outcome = cli(
        "evaluate", f"checkpoint={tmp_path / 'mine.ckpt'}", f"output_dir={tmp_path / 'out'}", "num_workers=0",
        "num_thresholds=50", "gallery_images=0",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_a_checkpoint_is_evaluated_with_the_cam_family(tiny_run, tmp_path):
    result, data = tiny_run
    names = ["attention", "cam", "grad_cam", "grad_cam_plus_plus", "layer_cam", "input_gradient"]
    found = evaluate(
        compose(
            "evaluate",
            [f"checkpoint={result.checkpoint}", f"root={data}", f"score_map.name=[{','.join(names)}]", "num_workers=0",
             "gallery_images=2", "report_images=2", "accelerator=cpu", f"output_dir={tmp_path}"],
        )
    )  # fmt: skip
    assert list(found.per_map) == names
    assert found.per_map["cam"] == found.per_map["attention"]
    assert found.per_map["input_gradient"] != found.per_map["attention"]
    assert (tmp_path / "gallery" / "overview.png").is_file()
