"""A run that died goes on as if it had not."""

import json
import re

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.resuming.stopping import Stopped
from tests.resuming.helpers import Died, assert_same, dies, run
from tests.trees import write_cub


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("resuming") / "cub", per_class=12)


@pytest.fixture(scope="module")
def whole(cub):
    """A run that did not die: three epochs of three steps."""
    run(cub, cub.parent / "whole")
    return cub.parent / "whole"


def test_the_last_checkpoint_is_of_the_last_step(whole):
    assert torch.load(whole / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 9


def test_wherever_it_died(cub, whole, tmp_path):
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
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "resume.ckpt",
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        ("method=cutmix", "+trainer.accumulate_grad_batches=2", "trainer.max_epochs=2"),
        ("method=has", "trainer.max_steps=5", "data.num_workers=1"),
        ("+trainer.val_check_interval=1", "trainer.max_epochs=2"),
    ],
    ids=["accumulated gradients", "a limit of steps, loader workers", "a validation after each step"],
)
@pytest.mark.slow
def test_with(cub, tmp_path, overrides):
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
        Stopped, match=rf"stopped by {signal}; .* resume=auto output_dir='{re.escape(str(tmp_path))}'"
    ) as stop:
        run(cub, tmp_path, *dies(4, by=signal))
    assert stop.value.code == code
    assert torch.load(tmp_path / "checkpoints/resume.ckpt", weights_only=True)["resume"]["step"] == 4
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("grace", [0, 60])
def test_a_signal_in_a_validation(cub, whole, tmp_path, grace, monkeypatch):
    """It ends and is saved; a long one is given up, and the steps since the last checkpoint are made again."""
    monkeypatch.setattr("spg_lightning.resuming.keeper.GRACE", grace)
    with pytest.raises(Stopped, match="stopped by SIGTERM; go on with the same command and resume=auto"):
        run(cub, tmp_path, *dies(6, by="SIGTERM", hook="on_validation_start"), "checkpoint_every_steps=4")
    saved = torch.load(tmp_path / "checkpoints/resume.ckpt", weights_only=True)["resume"]["step"]
    assert saved == (6 if grace else 4)
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_a_longer_run_says_what_becomes_of_the_schedule(cub, whole, tmp_path, caplog):
    constant = ("schedule=constant",)
    run(cub, tmp_path / "two", *constant, "trainer.max_epochs=2")
    run(cub, tmp_path / "two", *constant, "resume=auto")
    assert "trainer.max_epochs=2 there, 3 here: from here on the schedule follows the new length" in caplog.text
    run(cub, tmp_path / "three", *constant)
    assert_same(tmp_path / "two", tmp_path / "three")


def test_what_is_damaged_or_of_another_run(cub, tmp_path, caplog):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(4), "checkpoint_every_steps=1")
    last, before = (tmp_path / "checkpoints" / name for name in ("resume.ckpt", "resume.previous.ckpt"))
    config = (tmp_path / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"is of another config \(dataset.lr=0.001 there, 0.5 here, and \d+ more\)"):
        run(cub, tmp_path, "resume=auto", "dataset.lr=0.5")
    assert (tmp_path / "config.yaml").read_text() == config

    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(UserError, match=f"is damaged .*; resume={before} is the one before it"):
        run(cub, tmp_path, f"resume={last}")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(4), "resume=auto", "checkpoint_every_steps=1")
    assert re.search(f"{last} is damaged .*; the one before it is taken", caplog.text)
    steps = [torch.load(path, weights_only=True)["resume"]["step"] for path in (before, last)]
    assert steps == [2, 3], "the damaged one did not take the good one's place"
    last.write_bytes(last.read_bytes()[:-1000])
    before.write_bytes(b"")
    with pytest.raises(UserError, match="no other one is whole"):
        run(cub, tmp_path, "resume=auto")
    with pytest.raises(UserError, match="holds weights, not how to go on"):
        run(cub, tmp_path, f"resume={tmp_path / 'checkpoints/best.ckpt'}")


def test_a_fresh_run_sets_the_old_checkpoint_aside(cub, tmp_path, caplog):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(3), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(1))
    assert [file.name for file in (tmp_path / "checkpoints").iterdir() if "resume" in file.name] == []
    assert f"resume={tmp_path / 'checkpoints/abandoned.ckpt'}" in caplog.text


def test_a_full_disk(cub, whole, tmp_path, caplog, monkeypatch):
    """The training goes on, and the checkpoint of before stays."""
    import errno

    from spg_lightning.checkpoints import whole as writing

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
    assert "No space left on device); the one of step 1 stays; the training goes on" in caplog.text
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["resume.ckpt"]
    monkeypatch.undo()
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_a_disk_without_room_for_the_log(cub, whole, tmp_path, monkeypatch):
    import errno

    from spg_lightning.resuming.csv_log import LastingWriter

    save, calls = LastingWriter.save, []

    def fills_up(writer):
        calls.append(writer)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(writer)

    monkeypatch.setattr(LastingWriter, "save", fills_up)
    with pytest.raises(UserError, match="No space left on device; make room, then go on with resume=auto"):
        run(cub, tmp_path, "checkpoint_every_steps=1")
    monkeypatch.undo()
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_an_automatic_precision_is_kept_as_what_it_was(cub, tmp_path, monkeypatch):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(3), "trainer.precision=auto", "checkpoint_every_steps=1")
    monkeypatch.setattr("spg_lightning.training.precision_of", lambda trainer: "bf16-mixed")
    with pytest.raises(UserError, match=r"trainer\.precision=32-true there, bf16-mixed here"):
        run(cub, tmp_path, "trainer.precision=auto", "resume=auto")


def test_a_loss_that_is_no_number(cub, tmp_path):
    with pytest.raises(UserError) as stop:
        run(cub, tmp_path, "schedule=constant", "dataset.lr=1e15", "checkpoint_every_steps=1")
    said = str(stop.value)
    assert "\n" not in said
    assert re.match(r"the loss of step \d is (nan|inf) \(parts: .*cls (nan|inf).*\) on 00\d.Class_\d/Photo_", said)
    good = torch.load(tmp_path / "checkpoints/resume.ckpt", weights_only=True) if "good checkpoint is" in said else None
    for value in good["state_dict"].values() if good else ():
        assert value.isfinite().all()
