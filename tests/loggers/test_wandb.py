"""A training is one Weights & Biases run, however often it is killed; read back from the files and from a server."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from signal import SIGKILL

import pytest
import wandb

from spg_lightning import UserError, compose, train
from spg_lightning.errors import RunPruned
from spg_lightning.loggers.wandb import WandbResultsLogger
from spg_lightning.loggers.wandb_history import STEP
from spg_lightning.utils.signals import RunInterrupted
from tests.callbacks.helpers import SMALL, Died, Dies, dies
from tests.conftest import ROOT
from tests.loggers.wandb_files import Run
from tests.loggers.wandb_server import serving

pytestmark = pytest.mark.usefixtures("away")
# a start's first step has no step before it to measure
TIMED = {"train/images_per_second", "train/step_seconds", "train/data_wait_seconds", "train/memory_gb"}


@pytest.fixture(scope="module")
def reference(cub, away):
    """The rows of the uninterrupted run: three epochs of three steps."""
    folder = cub.parent / "uninterrupted"
    run(cub, folder)
    (logged,) = attempts(folder)
    return logged.history


def words(data, folder):
    base = [word for word in SMALL if word != "logger=csv"]
    return [*base, f"dataset.root={data}", f"output_dir={folder}", "logger=wandb"]


def run(data, folder, *overrides):
    wandb.teardown()  # as in a new process; wandb's own would otherwise still write the attempt before
    return train(compose("train", [*words(data, folder), *overrides]))


def attempts(folder):
    return [Run(path) for path in sorted((folder / "wandb").glob("offline-run-*"))]


def steps(rows, key):
    """The steps of a metric, in the order in which they were logged."""
    return [row[STEP] for row in rows if key in row and STEP in row]


def assert_one_run(rows, reference):
    """Each metric was logged at the steps of the uninterrupted run, once, and the losses have its values."""
    keys = {key for row in reference for key in row if STEP in row and not key.startswith("_")} - {STEP, "epoch"}
    for key in keys - TIMED:
        assert steps(rows, key) == steps(reference, key), key
    assert steps(rows, "train/loss_total") == list(range(9))
    for key in TIMED:
        assert max(Counter(steps(rows, key)).values()) == 1, key
    losses = [[row["train/loss_total"] for row in some if "train/loss_total" in row] for some in (rows, reference)]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_run_killed_three_times_is_one_run_on_disk_and_when_synced(cub, reference, tmp_path):
    died = tmp_path / "died"
    often = ("checkpoint_every_steps=3", "resume=auto")
    with pytest.raises(Died):  # before the first checkpoint
        run(cub, died, *dies(1), *often)
    killed = [*words(cub, died), *dies(5, by="SIGKILL"), *often]
    assert subprocess.run([sys.executable, "-m", "spg_lightning.train", *killed], cwd=ROOT).returncode == -SIGKILL
    with pytest.raises(Died):  # in the epoch after the one of the checkpoint
        run(cub, died, *dies(7), *often)
    run(cub, died, *often)
    runs = attempts(died)
    assert (len(runs), runs[-1].exit_code) == (4, 0)
    assert {attempt.run.run_id for attempt in runs} == {(died / "wandb_id.txt").read_text()}
    assert_one_run([row for attempt in runs for row in attempt.history], reference)

    with serving() as server:
        key = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": "a" * 40}
        command = [Path(sys.executable).with_name("wandb"), "sync", "--yes", *(attempt.folder for attempt in runs)]
        subprocess.run(command, check=True, env={**os.environ, **key})
    ((name, rows),) = server.histories.items()
    assert name == runs[0].run.run_id
    assert_one_run(rows, reference)
    assert [row["_step"] for row in rows] == list(range(len(rows)))


def test_a_run_that_dies_three_times_online_is_one_history_on_the_server(cub, reference, tmp_path, monkeypatch):
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        for step in (1, 5, 7):
            with pytest.raises(Died):
                run(cub, tmp_path, *dies(step), "checkpoint_every_steps=3", "resume=auto")
        run(cub, tmp_path, "resume=auto")
        wandb.teardown()
    ((_, rows),) = server.histories.items()
    assert_one_run(rows, reference)
    assert [row["_step"] for row in rows] == list(range(len(rows)))


def test_alerts_tell_of_a_signal_a_loss_that_is_not_finite_and_a_failure(cub, tmp_path):
    spoils = "+callbacks.spoils._target_=tests.callbacks.helpers.Spoils"
    cases = (
        (RunInterrupted, dies(2, by="SIGTERM"), "Preempted by SIGTERM", "resume=auto"),
        (UserError, (spoils,), "Loss or weights not finite", "a4.weight is no longer finite at step 3"),
        (Died, dies(2), "Training failed", "Died"),
    )
    for number, (error, overrides, title, text) in enumerate(cases):
        with pytest.raises(error):
            run(cub, tmp_path / str(number), *overrides)
        ((sent, said),) = attempts(tmp_path / str(number))[0].alerts
        assert sent == title
        assert text in said
    with pytest.raises(RunInterrupted):
        run(cub, tmp_path / "by hand", *dies(2, by="SIGINT"))
    assert attempts(tmp_path / "by hand")[0].alerts == []


def test_a_pruned_trial_is_no_failure(cub, tmp_path, monkeypatch):
    def prune(*arguments):
        raise RunPruned("hopeless")

    monkeypatch.setattr(Dies, "act", prune)
    with pytest.raises(RunPruned):
        run(cub, tmp_path, *dies(2))
    (attempt,) = attempts(tmp_path)
    assert attempt.alerts == []
    assert attempt.exit_code == 0


def test_checkpoints_and_the_data_set_are_artifacts_with_lineage(cub, tmp_path, monkeypatch):
    watch = WandbResultsLogger.watch
    monkeypatch.setattr(WandbResultsLogger, "watch", lambda *given, **more: watch(*given, **more, log_freq=1))
    run(cub, tmp_path, "trainer.max_epochs=1", "logger.log_checkpoints=best", "logger.watch=gradients")
    (logged,) = attempts(tmp_path)
    used, produced = ([a for a in logged.logged_artifacts if a.use_after_commit is use] for use in (True, False))
    (index,) = used
    assert (index.name, index.type) == ("cub-index", "dataset")
    rows = logged.artifacts["index.csv"].read_text().splitlines()
    assert rows[0] == "split,image,class,boxes"
    assert len(rows) == 1 + 3 * 12
    (model,) = [a for a in produced if a.type == "model"]
    assert model.name == f"checkpoint-{logged.run.run_id}"
    assert sorted(model.aliases) == ["best", "latest"]
    assert logged.artifacts["best.ckpt"].read_bytes() == (tmp_path / "checkpoints/best.ckpt").read_bytes()
    assert any(key.startswith("gradients/") for row in logged.history for key in row)


def test_a_wrong_choice_is_told(cub, tmp_path):
    for word, text in (("log_checkpoints=last", "choose best, all or none"), ("watch=weights", "choose gradients")):
        with pytest.raises(UserError, match=f"^logger.{word}: {text}"):
            run(cub, tmp_path, f"logger.{word}")
