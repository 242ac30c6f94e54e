"""Resume checkpoints in a run folder: which one a run resumes from, and what stands against it."""

import logging

import pytest
import torch

from spg_lightning.checkpoints.resume_state import find_resume_state, latest_checkpoint, save_resume_checkpoint
from spg_lightning.errors import UserError
from spg_lightning.utils.run_dir import RunDir
from tests.checkpoints.handmade import CONFIG, checkpoint


@pytest.fixture
def run_dir(tmp_path):
    """A run that was ended in its second epoch, after step 7; the checkpoint before it is of step 6."""
    run_dir = RunDir(tmp_path / "run")
    for step in (6, 7):
        save_resume_checkpoint(checkpoint(step=step), run_dir)
    return run_dir


def test_the_last_two_checkpoints_are_kept(tmp_path):
    for step in range(3):
        save_resume_checkpoint({"step": step}, RunDir(tmp_path))
    kept = {file.name: torch.load(file, weights_only=True)["step"] for file in (tmp_path / "checkpoints").iterdir()}
    assert kept == {"resume.ckpt": 2, "resume.previous.ckpt": 1}


def test_the_newest_one_is_taken(run_dir, caplog):
    caplog.set_level(logging.INFO)
    state = find_resume_state("auto", run_dir, CONFIG)
    assert (state.path, state.step, state.epoch, state.batch) == (run_dir.resume, 7, 1, 3)
    assert (state.seconds, state.resume_steps, state.num_train_images) == (2.5, [4], 12)
    assert state.class_names == ("wren", "tit")
    assert [record.getMessage() for record in caplog.records] == [
        f"resuming after step 7 (epoch 1, batch 3): {run_dir.resume}"
    ]
    assert find_resume_state(str(run_dir.previous), run_dir, CONFIG).step == 6
    run_dir.resume.unlink()
    assert latest_checkpoint(run_dir) == run_dir.previous
    assert find_resume_state("auto", run_dir, CONFIG).step == 6


def test_without_a_checkpoint_a_run_starts_from_scratch(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert find_resume_state(None, RunDir(tmp_path), CONFIG) is None
    assert not caplog.records
    assert find_resume_state("auto", RunDir(tmp_path), CONFIG) is None
    assert caplog.messages == [f"resume=auto: no checkpoint in {tmp_path / 'checkpoints'}; starting from scratch"]


def test_a_damaged_one_is_skipped_with_a_warning(run_dir, caplog):
    run_dir.resume.write_bytes(b"torn")
    assert find_resume_state("auto", run_dir, CONFIG).path == run_dir.previous
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.startswith(f"checkpoint={run_dir.resume} is damaged")
    assert warning.endswith("; resuming from the previous one")
    with pytest.raises(
        UserError, match=rf"resume: checkpoint=.* is damaged.*; resume={run_dir.previous} is the previous one"
    ):
        find_resume_state(str(run_dir.resume), run_dir, CONFIG)
    run_dir.previous.write_bytes(b"torn, too")
    with pytest.raises(UserError, match=r"resume=auto: .*resume.ckpt is damaged.*; start again with overwrite=true"):
        find_resume_state("auto", run_dir, CONFIG)
    with pytest.raises(UserError) as error:
        find_resume_state(str(run_dir.previous), run_dir, CONFIG)
    assert "is the previous one" not in str(error.value)


def test_files_that_hold_no_state(run_dir, tmp_path):
    with pytest.raises(UserError, match=r"resume=.*nothing\.ckpt: no such file; give a run's checkpoints/resume\.ckpt"):
        find_resume_state(str(tmp_path / "nothing.ckpt"), run_dir, CONFIG)
    torch.save(checkpoint(), run_dir.last)
    with pytest.raises(UserError, match=r"last\.ckpt holds weights but no training state; give a run's"):
        find_resume_state(str(run_dir.last), run_dir, CONFIG)


def test_another_config_is_refused(run_dir):
    other = {**CONFIG, "seed": 1}
    with pytest.raises(
        UserError,
        match=r"resume=auto: .* has another config \(seed=0 in the checkpoint, 1 here\); give the same overrides, .* start again with overwrite=true",
    ):
        find_resume_state("auto", run_dir, other)
    other["dataset"] = {"name": "cub", "lr": 0.2}
    with pytest.raises(UserError, match=r"\(dataset\.lr=0\.1 in the checkpoint, 0\.2 here, and 2 more\)"):
        find_resume_state("auto", run_dir, other)


@pytest.mark.parametrize(
    ("position", "limits", "message"),
    [
        ({"epoch": 1, "batch": 3}, {"max_epochs": 1}, "trainer.max_epochs=1, but .* is at step 7, in epoch 2; raise"),
        (
            {"epoch": 2, "batch": 0},
            {"max_epochs": 1},
            "trainer.max_epochs=1, but .* is at step 7, after 2 epochs; raise",
        ),
        ({"epoch": 1, "batch": 3}, {"max_steps": 6}, "trainer.max_steps=6, but .* is at step 7, in epoch 2; raise"),
        ({"epoch": 1, "batch": 1}, {"max_epochs": 2, "max_steps": 7}, None),
        ({"epoch": 2, "batch": 0}, {"max_epochs": 2}, None),
    ],
)
def test_limits(tmp_path, caplog, position, limits, message):
    run_dir, config = RunDir(tmp_path), {**CONFIG, "trainer": {**CONFIG["trainer"], **limits}}
    save_resume_checkpoint(checkpoint(**position), run_dir)
    if message:
        with pytest.raises(UserError, match=message):
            find_resume_state("auto", run_dir, config)
        return
    caplog.set_level(logging.WARNING)
    assert find_resume_state("auto", run_dir, config).step == 7
    assert caplog.messages == [
        "trainer.max_epochs=3 in the checkpoint, 2 here: the schedule follows the new length from here on"
    ]


@pytest.mark.parametrize(("others", "more"), [({}, ""), ({"b": 0}, ", and 1 more"), ({"b": 0, "c": 0}, ", and 2 more")])
def test_another_config_is_told_by_its_first_difference(tmp_path, others, more):
    saved = {**CONFIG, "a": 1, "b": 1, "c": 1}
    save_resume_checkpoint(checkpoint(saved, step=7), RunDir(tmp_path))
    with pytest.raises(UserError, match=rf"has another config \(a=1 in the checkpoint, 0 here{more}\); give the same"):
        find_resume_state("auto", RunDir(tmp_path), {**saved, "a": 0, **others})


def test_other_random_numbers_are_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    save_resume_checkpoint(checkpoint({**CONFIG, "module": {"compile": False}}, step=7), RunDir(tmp_path))
    assert find_resume_state("auto", RunDir(tmp_path), {**CONFIG, "module": {"compile": True}})
    assert caplog.messages == [
        "module.compile=False in the checkpoint, True here: dropout draws other random numbers than in an uninterrupted run"
    ]
