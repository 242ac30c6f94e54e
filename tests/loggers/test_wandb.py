"""A training is one Weights & Biases run, however often it is killed; read back from the files and from a server."""

from collections import Counter

import pytest
import wandb

from spg_lightning import UserError, compose, train
from spg_lightning.loggers.wandb_history import STEP
from spg_lightning.utils.signals import RunInterrupted
from tests.callbacks.helpers import SMALL, Died, dies
from tests.loggers.wandb_files import Run


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No key, no login, and wandb's own files in a temporary folder."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in (("HOME", "home"), ("WANDB_DATA_DIR", "data"), ("WANDB_CACHE_DIR", "cache")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("WANDB_SILENT", "true")


def run(data, folder, *overrides):
    base = [word for word in SMALL if word != "logger=csv"]
    return train(compose("train", [*base, f"dataset.root={data}", f"output_dir={folder}", "logger=wandb", *overrides]))


def attempts(folder):
    return [Run(path) for path in sorted((folder / "wandb").glob("offline-run-*"))]


def steps(runs, key):
    """The steps of a metric, in the order of the files."""
    return [row[STEP] for attempt in runs for row in attempt.history if key in row and STEP in row]


def test_a_run_killed_three_times_is_one_run_without_repeated_or_missing_steps(cub, offline, tmp_path):
    whole, died = tmp_path / "whole", tmp_path / "died"
    run(cub, whole)
    # before the first checkpoint, two steps after one, inside the last epoch
    for step in (1, 5, 7):
        with pytest.raises(Died):
            run(cub, died, *dies(step), "checkpoint_every_steps=3", "resume=auto")
    run(cub, died, "resume=auto")
    (reference,), runs = attempts(whole), attempts(died)
    assert len(runs) == 4
    assert {r.run.run_id for r in runs} == {(died / "wandb_id.txt").read_text()}
    assert [r.exit_code for r in runs] == [1, 1, 1, 0]
    keys = {key for row in reference.history for key in row if STEP in row} - {STEP, "epoch"}
    # the first step after a start has no step before it to measure
    timed = {"train/images_per_second", "train/step_seconds", "train/data_wait_seconds", "train/memory_gb"}
    for key in keys - timed:
        if not key.startswith("_"):
            assert steps(runs, key) == steps([reference], key), key
    assert steps(runs, "train/loss_total") == list(range(9))
    for key in timed & keys:
        assert max(Counter(steps(runs, key)).values()) == 1, key
    values = [[row["train/loss_total"] for r in some for row in r.history if "train/loss_total" in row] for some in (runs, [reference])]
    assert values[0] == values[1]
