"""A run's progress is read from its log while it is written."""

import pytest

from spg_lightning.config.run_progress import RunProgress, run_progress
from spg_lightning.utils.run_dir import RunDir

HEADER = "epoch,step,train/loss_b1,train/loss_total,train/step_seconds,val/objective\n"
FIRST = ",4,,,,\n0,4,0.5,4.5,,\n0,9,0.25,3.5,2.0,\n"  # a row of learning rates; a first step without an interval


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {max_epochs: 5, max_steps: -1}\n")
    return RunDir(tmp_path)


def test_a_run_without_a_logged_step_has_no_progress(run_dir, tmp_path):
    assert run_progress(RunDir(tmp_path / "nowhere")) is None
    assert run_progress(run_dir) is None
    run_dir.log.write_text(HEADER + ",4,,,,\n")
    assert run_progress(run_dir) is None


def test_the_last_whole_row_counts(run_dir):
    run_dir.log.write_text(HEADER + FIRST + "0,14,0.1")
    assert run_progress(run_dir) == RunProgress(10, None, {"b1": 0.25, "total": 3.5}, None)


def test_the_first_validation_tells_the_length(run_dir):
    run_dir.log.write_text(HEADER + FIRST + "0,11,,,,40.0\n1,14,0.2,3.0,1.5,\n")
    assert run_progress(run_dir) == RunProgress(15, 60, {"b1": 0.2, "total": 3.0}, 1.5 * 45)


def test_a_limit_of_steps_is_the_length(run_dir):
    run_dir.config.write_text("trainer: {max_epochs: 5, max_steps: 20}\n")
    run_dir.log.write_text(HEADER + FIRST)
    assert run_progress(run_dir) == RunProgress(10, 20, {"b1": 0.25, "total": 3.5}, 20.0)


def test_a_real_run_has_ended(tiny_run):
    result, _ = tiny_run
    progress = run_progress(RunDir(result.output_dir))
    assert (progress.step, progress.steps) == (2, 2)
    assert set(progress.losses) == {"total", "cls", "b1", "b2", "c"}
