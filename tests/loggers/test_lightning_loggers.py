"""Loggers of Lightning that are a choice of the config."""

import sys

import pytest

from spg_lightning import UserError, compose, train
from spg_lightning.config.build import build_logger
from tests.conftest import TINY


def test_tensorboard(tiny_run, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")
    few = ["trainer.max_steps=2", "gallery_images=0", "report_images=0"]
    result = train(
        compose("train", [*TINY, *few, f"dataset.root={tiny_run[1]}", f"output_dir={tmp_path}", "logger=tensorboard"])
    )
    events = reading.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss_total")] == [0, 1]
    assert events.Scalars("test/gt_known_error")[-1].value == pytest.approx(result.metrics["test/gt_known_error"])


def test_mlflow(tiny_run, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    few = ["trainer.max_steps=2", "gallery_images=0", "report_images=0"]
    result = train(
        compose("train", [*TINY, *few, f"dataset.root={tiny_run[1]}", f"output_dir={tmp_path}", "logger=mlflow"])
    )
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("spg_lightning").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/gt_known_error"] == pytest.approx(result.metrics["test/gt_known_error"])
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss_total")] == [0, 1]


@pytest.mark.parametrize(
    ("name", "module", "flags"),
    [
        ("tensorboard", "lightning_fabric.loggers.tensorboard", ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE")),
        ("mlflow", "pytorch_lightning.loggers.mlflow", ("_MLFLOW_AVAILABLE",)),
    ],
)
def test_a_logger_without_its_package(name, module, flags, tmp_path, monkeypatch):
    for flag in flags:
        monkeypatch.setattr(sys.modules[module], flag, False)
    with pytest.raises(UserError, match=rf"^logger={name} .*pip install 'spg-lightning\[{name}\]'$"):
        build_logger(compose("train", [f"logger={name}", f"output_dir={tmp_path}"]).logger)
