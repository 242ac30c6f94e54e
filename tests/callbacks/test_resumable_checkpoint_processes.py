"""Killed and preempted processes: the script of experiments/resume with fewer kills, and exit codes."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.callbacks.helpers import SMALL
from tests.conftest import ROOT
from tests.test_train_processes import TWO


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_runs_are_the_run_that_was_not_killed(cub, tmp_path, processes):
    overrides = (*SMALL, f"dataset.root={cub}", "trainer.limit_train_batches=1.0", "trainer.max_epochs=6")
    done = subprocess.run(
        [sys.executable, ROOT / "experiments/resume/kill.py", "--output", tmp_path, "--runs", "2",
         "--processes", str(processes), "--", *overrides, "checkpoint_every_steps=1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["different_tensors"] for row in rows] == ["0", "0"]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_preemption_ends_with_a_line_and_a_code(cub, tmp_path, processes):
    arguments = (*SMALL, *(TWO if processes == 2 else ()), f"dataset.root={cub}", "trainer.max_epochs=200")
    process = subprocess.Popen(
        [sys.executable, "-m", "spg_lightning.train", *arguments, f"output_dir={tmp_path}", "checkpoint_every_steps=1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (tmp_path / "checkpoints/resume.ckpt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("stopped by SIGTERM; resume with the same command and resume=auto")
