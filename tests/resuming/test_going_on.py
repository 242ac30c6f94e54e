"""A run that died goes on as if it had not."""

import contextlib
import json
import re
import shutil
import time
from types import SimpleNamespace

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.module import SPGModule
from spg_lightning.resuming.keeper import Keeper
from spg_lightning.resuming.stopping import Stopped, StopSignals
from tests.resuming.helpers import Died, assert_same, dies, run, weights
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


@pytest.mark.parametrize(
    "limit", ["trainer.max_epochs=1", "trainer.max_steps=4", "dataset.max_epochs=1 trainer.max_epochs=1"]
)
def test_a_limit_that_was_passed_costs_nothing(cub, tmp_path, limit):
    """Lightning refuses to go on so; by then what says that a run is finished would have been taken away."""
    run(cub, tmp_path, "trainer.max_epochs=2")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(UserError, match=r"trainer.max_\w+=\d, but .*resume.ckpt has come to step 6, after 2 epochs"):
        run(cub, tmp_path, *limit.split(), "resume=auto")
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before


def test_into_a_folder_that_holds_another_run(cub, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(8), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, *dies(4), "dataset.lr=0.01", "checkpoint_every_steps=1")
    with pytest.raises(Died):  # a third run stays, too
        run(cub, second, *dies(5), "dataset.lr=0.1", "checkpoint_every_steps=1")
    run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    assert_same(second, whole)
    left = {
        name: torch.load(second / "checkpoints" / name, weights_only=True)["spg_lightning"]["config"]["dataset"]["lr"]
        for name in ("abandoned.ckpt", "abandoned.best.ckpt", "abandoned-2.ckpt", "abandoned-2.best.ckpt")
    }
    assert list(left.values()) == [0.01, 0.01, 0.1, 0.1]
    with pytest.raises(UserError, match="finished run of another config"):
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", "gallery_images=1")


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


def test_a_run_goes_on_with_other_loader_processes(cub, whole, tmp_path):
    """Who loads, and how often a loader was started, is nothing that dropout may see."""
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1", "data.num_workers=2")
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("how", ["moved", "into another folder"])
def test_the_best_is_remembered_elsewhere(cub, whole, tmp_path, how):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(8), "checkpoint_every_steps=1")
    if how == "moved":
        first.rename(second)
        run(cub, second, "resume=auto")
    else:
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    best = [
        torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["global_step"] for folder in (second, whole)
    ]
    assert best[0] == best[1]
    assert best[1] < 8, "else a best that was forgotten would not be told"
    assert torch.equal(*(weights(folder, "best")["network.a4.weight"] for folder in (second, whole)))


def test_an_abandoned_run_goes_on_with_its_own_best(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(8), "checkpoint_every_steps=1")
    with pytest.raises(Died):  # another run, which has a validation and so a best of its own
        run(cub, tmp_path, *dies(4), "dataset.lr=0.01")
    assert (
        torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)["spg_lightning"]["config"]["dataset"]["lr"]
        == 0.01
    )
    run(cub, tmp_path, f"resume={tmp_path / 'checkpoints/abandoned.ckpt'}")
    assert torch.equal(*(weights(folder, "best")["network.a4.weight"] for folder in (tmp_path, whole)))


def test_a_mistake_leaves_the_run_of_before_as_it_was(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(UserError, match="is missing"):
        run(cub.parent / "nowhere", tmp_path)
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_the_one_before_by_name(cub, whole, tmp_path):
    """As the line about a damaged one says; the damaged one must not take its place."""
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    last, before = (tmp_path / "checkpoints" / name for name in ("resume.ckpt", "resume.previous.ckpt"))
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), f"resume={before}", "checkpoint_every_steps=1")
    assert [torch.load(path, weights_only=True)["resume"]["step"] for path in (before, last)] == [3, 4]
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_started_again_by_slurm_it_goes_on(cub, whole, tmp_path, monkeypatch):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, tmp_path)
    assert_same(tmp_path, whole)
    assert json.loads((tmp_path / "provenance.json").read_text())["resumed_after_steps"] == [4]


def test_started_again_it_does_not_go_back_to_where_it_was_told_to_begin(cub, whole, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(3), "checkpoint_every_steps=1")
    told = f"resume={first / 'checkpoints/resume.ckpt'}"
    with pytest.raises(Died):
        run(cub, second, told, *dies(8), "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, second, told)
    assert_same(second, whole)
    assert json.loads((second / "provenance.json").read_text())["resumed_after_steps"] == [2, 7]


def test_started_again_before_it_had_begun(cub, whole, tmp_path, monkeypatch):
    """What lies in its folder is another run's."""
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(5), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, *dies(5), "dataset.lr=0.5", "schedule=constant", "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    assert_same(second, whole)


def test_started_again_without_a_folder_of_its_own(verb, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert verb("train", "--cfg", "job").code == 0, "nothing is run"
    outcome = verb("train")
    assert outcome.code == 1
    assert outcome.err.startswith("error: Slurm or torchrun started this run again, but its folder was named after")


def test_checkpoints_take_a_share_of_the_time(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("spg_lightning.resuming.keeper.batches_done", lambda trainer: 0)
    keeper = Keeper(tmp_path, "auto", None, StopSignals())

    def save(trainer, between_epochs):
        now[0] += 2.0
        saved.append(trainer.global_step)

    monkeypatch.setattr(keeper, "_save", save)
    for step in range(0, 4000, 50):
        now[0] += 1.0
        trainer = SimpleNamespace(global_step=step, world_size=1, is_global_zero=True, accumulate_grad_batches=1)
        keeper.on_train_batch_start(trainer, None, None, 0)
    # every 4 s one would be due; 2 s of saving are followed by 38 s of rest
    assert saved == [200, 2200]
    with pytest.raises(UserError, match="choose auto or a positive number"):
        Keeper(tmp_path, "often", None, StopSignals())


def test_a_finished_run_of_another_config_is_not_overwritten(cub, tmp_path):
    run(cub, tmp_path, "trainer.max_epochs=1")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(UserError, match=r"finished run of another config \(dataset.lr=0.001 there, 0.01 here\)"):
        run(cub, tmp_path, "trainer.max_epochs=1", "dataset.lr=0.01")
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
    run(
        cub, tmp_path, "trainer.max_epochs=1", "trainer.precision=auto", "data.num_workers=auto"
    )  # the same: made again
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "resume.ckpt",
    ]


def test_a_finished_run_is_there_until_it_has_been_made_again(cub, whole, tmp_path, monkeypatch):
    def die(module, batch, batch_index):
        raise Died

    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "checkpoints", tmp_path / "before")
    monkeypatch.setattr(SPGModule, "training_step", die)  # a callback would make it another config
    with pytest.raises(Died):
        run(cub, tmp_path)
    for now, then in {"abandoned": "resume", "abandoned.best": "best"}.items():
        kept = (tmp_path / f"checkpoints/{now}.ckpt").read_bytes()
        assert kept == (tmp_path / f"before/{then}.ckpt").read_bytes()
    assert (tmp_path / "checkpoints/abandoned.metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_a_copy_of_its_own_checkpoint(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    copy = tmp_path / "checkpoints/mine.ckpt"
    shutil.copy(tmp_path / "checkpoints/resume.ckpt", copy)
    run(cub, tmp_path, f"resume={copy}")
    assert_same(tmp_path, whole)
    assert (tmp_path / "checkpoints/abandoned.ckpt").is_file()


def test_into_another_folder_it_is_there_at_once(cub, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(5), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", *dies(5))
    run(cub, second, "resume=auto")
    assert_same(second, whole)
    assert json.loads((second / "provenance.json").read_text())["resumed_after_steps"] == [4]


def test_a_signal_that_python_lost_ends_the_run_at_the_next_look(cub, whole, tmp_path, monkeypatch):
    """What a handler raises in a finalizer, or while a process is started, goes nowhere."""
    come = StopSignals._come

    def lose(signals, number, frame):
        with contextlib.suppress(Stopped):
            come(signals, number, frame)

    monkeypatch.setattr(StopSignals, "_come", lose)
    for hook, step in (("on_fit_start", 0), ("on_test_start", 9)):
        with pytest.raises(Stopped, match="stopped by SIGTERM"):
            run(cub, tmp_path, *dies(step, by="SIGTERM", hook=hook), "resume=auto")
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


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
    chosen = "spg_lightning.training.precision_of"  # by the machine: these tests run on both kinds
    monkeypatch.setattr(chosen, lambda trainer: "32-true")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(3), "trainer.precision=auto", "checkpoint_every_steps=1")
    monkeypatch.setattr(chosen, lambda trainer: "bf16-mixed")
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


def test_weights_that_are_no_numbers_are_met_before_a_validation(cub, tmp_path):
    """Else it would be told as a photo's map that is no number."""
    spoils = "+callbacks.spoils._target_=tests.resuming.helpers.Spoils"
    with pytest.raises(UserError, match=r"^network.a4.weight is no longer finite at step 3; .*lower dataset.lr"):
        run(cub, tmp_path, spoils)


@pytest.mark.parametrize("epochs", [100, -1, "null"])
def test_a_schedule_by_epochs_under_a_limit_of_steps(cub, tmp_path, epochs):
    steps = (
        "schedule=step",
        "schedule.every_epochs=1",
        "schedule.factor=0.1",
        f"trainer.max_epochs={epochs}",
        "trainer.max_steps=5",
    )
    run(cub, tmp_path, *steps)
    (schedule,) = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["lr_schedulers"]
    assert min(schedule["_last_lr"]) == pytest.approx(0.1 * 0.001)  # after five steps, three an epoch


@pytest.mark.parametrize("stale", [False, True])
def test_the_best_that_there_is_not(cub, whole, tmp_path, caplog, stale):
    told = f"resume={whole / 'checkpoints/resume.ckpt'}" if stale else "trainer.max_epochs=1"
    run(cub, tmp_path, "evaluate_weights=best", "callbacks.best=null", told)
    assert "evaluate_weights=best: no validation has written" in caplog.text
    assert json.loads((tmp_path / "provenance.json").read_text())["weights"] == "last"
