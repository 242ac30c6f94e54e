"""The command `evaluate` on checkpoints."""

import csv
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


def test_every_map_and_split_has_rows_on_request(tiny_run, cli, tmp_path):
    result, data = tiny_run
    found = {}
    for image_rows in ("chosen", "all"):
        outcome = cli(
            "evaluate", f"checkpoint={result.checkpoint}", f"output_dir={tmp_path / image_rows}", "num_thresholds=50",
            "num_workers=0", "accelerator=cpu", "gallery_images=0", f"image_rows={image_rows}",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        found[image_rows] = list(csv.DictReader((tmp_path / image_rows / "images.csv").open()))
    rows, chosen = found["all"], found["chosen"]
    assert {(row["split"], row["score_map"]) for row in chosen} == {("test", result.evaluation.score_map)}
    assert rows[: len(chosen)] == chosen
    metrics = json.loads((tmp_path / "all" / "metrics.json").read_text())
    for split in ("val", "test"):
        for name in result.evaluation.per_map:
            own = [row for row in rows if (row["split"], row["score_map"]) == (split, name)]
            assert len({row["image"] for row in own}) == len(own) == metrics[f"{split}/num_images"]
            error = 100 - 100 * sum(int(row["localized"]) for row in own) / len(own)
            assert error == pytest.approx(metrics[f"{split}/{name}/gt_known_error"])
            wrong = sum(row["class"] != row["predicted"] for row in own)
            assert 100 * wrong / len(own) == pytest.approx(metrics[f"{split}/cls_top1_error"])
    for row in rows:
        assert (data / "images" / row["image"]).is_file()
        assert 1 / 3 <= float(row["score"]) <= 1
        ((x0, y0, x1, y1),) = json.loads(row["true_boxes"])
        assert (x1 - x0, y1 - y0) == (30, 20)
    assert "image_rows=some: choose chosen or all" in cli("evaluate", "checkpoint=x", "image_rows=some").line


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
