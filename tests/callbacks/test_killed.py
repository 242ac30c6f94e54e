"""Real processes, really killed: the script of experiments/resume, with fewer kills; and exit codes."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.callbacks.helpers import SMALL
from tests.conftest import ROOT
from tests.trees import write_cub
from tests.utils.test_distributed import ALIKE, TWO, call


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("killed") / "cub", per_class=12)


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
    assert err.splitlines()[-1].startswith("stopped by SIGTERM; go on with the same command and resume=auto")


@pytest.mark.slow
def test_one_two_and_three_processes_count_every_image_once(tmp_path):
    """19 test photos: neither 2 nor 3 divides them."""
    cub = write_cub(tmp_path / "cub", classes=2, per_class=38)
    keep = (cub / "train_test_split.txt").read_text().splitlines()
    # every other photo is a test photo: 19 a class; the second class's go to the training
    keep = [f"{line.split()[0]} 1" if number >= 38 and number % 38 else line for number, line in enumerate(keep)]
    (cub / "train_test_split.txt").write_text("\n".join(keep) + "\n")
    texts = {}
    for processes in (1, 2, 3):
        folder = tmp_path / f"{processes}"
        ddp = ("trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={processes}") if processes > 1 else ()
        done = call(
            *ALIKE, *ddp, f"dataset.root={cub}", "trainer.max_epochs=1", "dataset.batch_size=6", "dataset.lr=0",
            "data.eval_batch_size=2", f"output_dir={folder}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        texts[processes] = (
            (folder / "metrics.json").read_text(),
            sorted(row.split(",")[0] for row in (folder / "images.csv").read_text().splitlines()),
        )
    assert texts[1] == texts[2] == texts[3]
    assert len(set(texts[1][1])) == len(texts[1][1])
