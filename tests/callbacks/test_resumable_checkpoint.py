"""Interrupted runs resume bit by bit."""

import contextlib
import json
import re
import time
from types import SimpleNamespace

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.callbacks.resumable_checkpoint import ResumableCheckpoint
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.signals import RunInterrupted, StopSignals
from tests.callbacks.helpers import Died, assert_same, dies, run


def test_the_last_checkpoint_is_of_the_last_step(whole):
    assert torch.load(whole / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 9


def test_a_killed_run_resumes_bit_by_bit(cub, whole, tmp_path):
    """Before the first checkpoint, inside an epoch, after the first step of one, after the last, in the evaluation."""
    for step in (1, 3, 4, 6, 7, 9):
        with pytest.raises(Died):
            run(cub, tmp_path, *dies(step), "checkpoint_every_steps=1", "resume=auto")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(9, hook="on_test_start"), "resume=auto")
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert facts["resumed_after_steps"] == [2, 3, 5, 6, 8, 9]
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("method=cutmix", "+trainer.accumulate_grad_batches=2", "trainer.max_epochs=2"),
        ("method=has", "trainer.max_steps=5", "data.num_workers=1"),
        ("method=has", "trainer.max_epochs=4", "data.num_workers=1"),
        ("+trainer.val_check_interval=1", "trainer.max_epochs=2"),
    ],
    ids=[
        "accumulated gradients",
        "a limit of steps, loader workers",
        "epochs, loader workers",
        "a validation after each step",
    ],
)
@pytest.mark.slow
def test_a_killed_run_resumes_bit_by_bit_with(cub, tmp_path, overrides):
    run(cub, tmp_path / "whole", *overrides)
    steps = (2, 3) if "method=cutmix" in overrides else (2, 4, 5)
    for step in steps:
        with pytest.raises(Died):
            run(cub, tmp_path / "died", *overrides, *dies(step), "checkpoint_every_steps=1", "resume=auto")
    run(cub, tmp_path / "died", *overrides, "resume=auto")
    assert_same(tmp_path / "died", tmp_path / "whole")


@pytest.mark.parametrize(("signal", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 138), ("SIGUSR2", 140)])
def test_a_signal_ends_the_step_and_saves(cub, whole, tmp_path, signal, code):
    with pytest.raises(
        RunInterrupted, match=rf"stopped by {signal}; .* resume=auto output_dir='{re.escape(str(tmp_path))}'"
    ) as stop:
        run(cub, tmp_path, *dies(4, by=signal))
    assert stop.value.code == code
    assert torch.load(tmp_path / "checkpoints/resume.ckpt", weights_only=True)["resume"]["step"] == 4
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("grace", [0, 60])
def test_a_signal_in_a_validation(cub, whole, tmp_path, grace, monkeypatch):
    """A short validation ends and the run is saved; a long one is aborted, and the steps since the last checkpoint are repeated."""
    monkeypatch.setattr("spg_lightning.callbacks.resumable_checkpoint.VALIDATION_GRACE_S", grace)
    with pytest.raises(RunInterrupted, match="stopped by SIGTERM; resume with the same command and resume=auto"):
        run(cub, tmp_path, *dies(6, by="SIGTERM", hook="on_validation_start"), "checkpoint_every_steps=4")
    saved = torch.load(tmp_path / "checkpoints/resume.ckpt", weights_only=True)["resume"]["step"]
    assert saved == (6 if grace else 4)
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_a_longer_run_warns_about_the_schedule(cub, whole, tmp_path, caplog):
    constant = ("schedule=constant",)
    run(cub, tmp_path / "two", *constant, "trainer.max_epochs=2", "keep_resume_state=true")
    run(cub, tmp_path / "two", *constant, "resume=auto")
    assert (
        "trainer.max_epochs=2 in the checkpoint, 3 here: the schedule follows the new length from here on"
        in caplog.text
    )
    run(cub, tmp_path / "three", *constant)
    assert_same(tmp_path / "two", tmp_path / "three")


def test_damaged_and_foreign_checkpoints(cub, tmp_path, caplog):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(4), "checkpoint_every_steps=1")
    last, before = (tmp_path / "checkpoints" / name for name in ("resume.ckpt", "resume.previous.ckpt"))
    config = (tmp_path / "config.yaml").read_text()
    with pytest.raises(
        UserError, match=r"has another config \(dataset.lr=0.001 in the checkpoint, 0.5 here, and \d+ more\)"
    ):
        run(cub, tmp_path, "resume=auto", "dataset.lr=0.5")
    assert (tmp_path / "config.yaml").read_text() == config

    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(UserError, match=f"is damaged .*; resume={before} is the previous one"):
        run(cub, tmp_path, f"resume={last}")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(4), "resume=auto", "checkpoint_every_steps=1")
    assert re.search(f"{last} is damaged .*; resuming from the previous one", caplog.text)
    steps = [torch.load(path, weights_only=True)["resume"]["step"] for path in (before, last)]
    assert steps == [2, 3], "the damaged one did not replace the valid one"
    last.write_bytes(last.read_bytes()[:-1000])
    before.write_bytes(b"")
    with pytest.raises(UserError, match="no other checkpoint is valid; start again with overwrite=true"):
        run(cub, tmp_path, "resume=auto")
    with pytest.raises(UserError, match="holds weights but no training state"):
        run(cub, tmp_path / "new", f"resume={tmp_path / 'checkpoints/best.ckpt'}")


def test_a_run_resumes_with_another_number_of_workers(cub, whole, tmp_path):
    """Dropout must not depend on the loader processes or on how often a loader was started."""
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1", "data.num_workers=2")
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_automatic_checkpoints_take_a_fraction_of_the_time(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("spg_lightning.callbacks.resumable_checkpoint.batches_done", lambda trainer: 0)
    checkpointer = ResumableCheckpoint(RunDir(tmp_path), "auto", None, StopSignals(), num_train_images=9)

    def save(trainer, between_epochs):
        now[0] += 2.0
        saved.append(trainer.global_step)

    monkeypatch.setattr(checkpointer, "_save", save)
    for step in range(0, 4000, 50):
        now[0] += 1.0
        trainer = SimpleNamespace(global_step=step, world_size=1, is_global_zero=True, accumulate_grad_batches=1)
        checkpointer.on_train_batch_start(trainer, None, None, 0)
    # every 4 s one would be due; 2 s of saving are followed by 38 s of rest
    assert saved == [200, 2200]
    with pytest.raises(UserError, match="choose auto or a positive number"):
        ResumableCheckpoint(RunDir(tmp_path), "often", None, StopSignals(), num_train_images=9)


def test_a_dropped_signal_stops_the_run_at_the_next_poll(cub, whole, tmp_path, monkeypatch):
    """Python drops exceptions that a handler raises in a finalizer or while a process starts."""
    handler = StopSignals._handler

    def lose(signals, number, frame):
        with contextlib.suppress(RunInterrupted):
            handler(signals, number, frame)

    monkeypatch.setattr(StopSignals, "_handler", lose)
    for hook, step in (("on_fit_start", 0), ("on_test_start", 9)):
        with pytest.raises(RunInterrupted, match="stopped by SIGTERM"):
            run(cub, tmp_path, *dies(step, by="SIGTERM", hook=hook), "resume=auto")
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_a_full_disk(cub, whole, tmp_path, caplog, monkeypatch):
    """Training continues, and the previous checkpoint is kept."""
    import errno

    from spg_lightning.checkpoints import io as writing

    save, calls = torch.save, []

    def fills_up(checkpoint, file):
        calls.append(file)
        if len(calls) == 2:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoint, file)

    monkeypatch.setattr(writing.torch, "save", fills_up)
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(3), "checkpoint_every_steps=1")
    assert "No space left on device); the one of step 1 is kept; training continues" in caplog.text
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["resume.ckpt"]
    monkeypatch.undo()
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_a_disk_without_room_for_the_log(cub, whole, tmp_path, monkeypatch):
    import errno

    from spg_lightning.loggers.csv import ResumableWriter

    save, calls = ResumableWriter.save, []

    def fills_up(writer):
        calls.append(writer)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(writer)

    monkeypatch.setattr(ResumableWriter, "save", fills_up)
    with pytest.raises(UserError, match="No space left on device; make room, then resume with resume=auto"):
        run(cub, tmp_path, "checkpoint_every_steps=1")
    monkeypatch.undo()
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_an_automatic_precision_is_stored_as_its_value(cub, tmp_path, monkeypatch):
    chosen = "spg_lightning.config.build.precision_of"  # by the machine: these tests run on both kinds
    monkeypatch.setattr(chosen, lambda trainer: "32-true")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(3), "trainer.precision=auto", "checkpoint_every_steps=1")
    monkeypatch.setattr(chosen, lambda trainer: "bf16-mixed")
    with pytest.raises(UserError, match=r"trainer\.precision=32-true in the checkpoint, bf16-mixed here"):
        run(cub, tmp_path, "trainer.precision=auto", "resume=auto")
