"""Some of what `python -m tests.reliability.kills` and `disk_full` do; in processes of their own, whose forks find no threads."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def say(module, *words):
    command = [sys.executable, "-m", f"tests.reliability.{module}", *words]
    return subprocess.run(command, cwd=ROOT, env=ALONE, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_sixteen_kills_over_all_commands_lose_nothing():
    done = say("kills", "--kills", "16", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 kills, 0 problems" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "predict", "prepare"])
def test_a_disk_that_fills_up_keeps_what_was_there(command):
    done = say("disk_full", "--only", command, "--every", "16")
    assert done.returncode == 0, done.stdout + done.stderr
