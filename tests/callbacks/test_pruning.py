"""A trial of a search reports its validations, and ends where Optuna's pruner finds it hopeless; a single run knows nothing of this."""

import os
import subprocess
import sys

import pytest

from spg_lightning.errors import RunPruned
from spg_lightning.utils.study_file import TrialId, open_study, open_trial, trial_of_this_process
from tests.callbacks.helpers import SMALL, run

optuna = pytest.importorskip("optuna", reason="the extra `sweeps` is not installed")
from optuna.distributions import FloatDistribution  # noqa: E402

MEDIAN = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 50}
OBJECTIVE = "val/gt_known_error"


def begin(folder, values, pruner=MEDIAN, direction="minimize"):
    """Write a study of two ended trials, with `values` after a third, two thirds and all of training; return the next trial."""
    folder.mkdir()
    study = open_study(folder, direction, pruner)
    for _ in range(2):
        study.add_trial(
            optuna.create_trial(
                params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}, value=values[-1],
                intermediate_values=dict(zip((33, 67, 100), values, strict=True)),
            )
        )  # fmt: skip
    return TrialId(study.ask({"x": FloatDistribution(0, 1)}).number, folder)


def reported(trial):
    study = open_trial(trial).study
    return study.trials[trial.number].intermediate_values


@pytest.fixture
def as_trial(monkeypatch):
    def set_variable(trial):
        for name, value in trial.environment.items():
            monkeypatch.setenv(name, value)

    return set_variable


def test_a_process_knows_its_trial(as_trial, tmp_path):
    assert trial_of_this_process() is None
    as_trial(TrialId(3, tmp_path / "a:b"))
    assert trial_of_this_process() == TrialId(3, tmp_path / "a:b")


def test_a_hopeless_trial_ends_after_its_warm_up(cub, as_trial, tmp_path):
    trial = begin(tmp_path / "study", (-3.0, -3.0, -3.0))
    as_trial(trial)
    with pytest.raises(RunPruned, match=r"^val/gt_known_error [\d.]+ after 67 % of the training$"):
        run(cub, tmp_path / "run")
    assert sorted(reported(trial)) == [33, 67]
    assert all(0 <= value <= 100 for value in reported(trial).values())
    assert not (tmp_path / "run/metrics.json").exists()


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ((200.0, 200.0, 200.0), {}),
        ((200.0, 200.0, -3.0), {}),  # all is trained then
        ((-3.0, -3.0, -3.0), {"pruner": {"_target_": "optuna.pruners.NopPruner"}}),
        ((-3.0, -3.0, -3.0), {"direction": "maximize"}),
    ],
)
def test_another_trial_is_trained_to_its_end(cub, whole, as_trial, tmp_path, values, options):
    trial = begin(tmp_path / "study", values, **options)
    as_trial(trial)
    run(cub, tmp_path / "run")
    assert (tmp_path / "run/metrics.json").read_text() == (whole / "metrics.json").read_text()
    assert sorted(reported(trial)) == [33, 67, 100]


def test_a_resumed_trial_reports_no_validation_twice(cub, as_trial, tmp_path, recwarn):
    trial = begin(tmp_path / "study", (200.0, 200.0, 200.0))
    as_trial(trial)
    run(cub, tmp_path / "run", "trainer.max_epochs=3")
    before = reported(trial)
    run(cub, tmp_path / "again")  # as after a kill before the first checkpoint
    assert reported(trial) == before
    assert not [warning for warning in recwarn if "already reported" in str(warning.message)]


def test_without_the_objective_in_validations_nothing_is_pruned(cub, as_trial, tmp_path, caplog):
    trial = begin(tmp_path / "study", (-3.0, -3.0, -3.0))
    as_trial(trial)
    run(cub, tmp_path / "run", "objective=val/gt_known_eror")
    warnings = [record.message for record in caplog.records if "no trial is pruned" in record.message]
    assert len(warnings) == 1
    assert "Did you mean 'val/gt_known_error'" in warnings[0]
    assert reported(trial) == {}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_all_processes_of_a_pruned_trial_end_with_a_line_and_a_code_of_their_own(cub, tmp_path, processes):
    trial = begin(tmp_path / "study", (-3.0, -3.0, -3.0), {**MEDIAN, "n_warmup_steps": 0})
    ddp = ("trainer=ddp", f"trainer.devices={processes}") if processes > 1 else ()
    words = [*ddp, *SMALL, f"dataset.root={cub}", f"output_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-m", "spg_lightning.train", *words], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, **trial.environment},
    )  # fmt: skip
    assert done.returncode == RunPruned.code, done.stderr
    assert done.stderr.splitlines()[-1].startswith("val/gt_known_error")
    assert "Traceback" not in done.stderr
    assert len(reported(trial)) == 1
