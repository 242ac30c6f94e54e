"""The parts that going on is made of."""

import csv
import errno
import os
import random
import signal

import numpy as np
import pytest
import torch

from spg_lightning import UserError
from spg_lightning.checkpoints.compatibility import differences, lengths, rng_affecting_changes
from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.checkpoints.resume_state import save_resume_checkpoint
from spg_lightning.datamodule import ProcessSampler, SeededSampler
from spg_lightning.loggers.csv import ResumableCSVLogger
from spg_lightning.utils.rng_state import get_rng_state, set_rng_state
from spg_lightning.utils.signals import RunInterrupted, StopSignals


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_sampler_leaves_out_what_was_seen(processes):
    for rank in range(processes):
        whole = SeededSampler(ProcessSampler(23, rank, processes, shuffle_seed=5), 5)
        later = SeededSampler(ProcessSampler(23, rank, processes, shuffle_seed=5), 5)
        later.indices.fast_forward(epoch=4, seen=3)
        whole.set_epoch(4)
        assert list(later) == list(whole)[3:], "without set_epoch: workers ask before it"
        assert len(later) == len(whole)
        for sampler in (whole, later):
            sampler.set_epoch(5)
        assert list(later) == list(whole), "the next epoch is whole"


def test_the_noise_goes_on():
    state = get_rng_state(torch.device("cpu"))
    first = random.random(), np.random.rand(), torch.rand(3).tolist()  # noqa: NPY002
    set_rng_state(state, torch.device("cpu"))
    assert (random.random(), np.random.rand(), torch.rand(3).tolist()) == first  # noqa: NPY002


def test_a_checkpoint_holds_the_noise_as_plain_data(tmp_path):
    torch.save(get_rng_state(torch.device("cpu")), tmp_path / "noise")
    set_rng_state(torch.load(tmp_path / "noise", weights_only=True), torch.device("cpu"))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("unexpected pos 64")])
def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch, error):
    path = tmp_path / "a.ckpt"
    atomic_save({"step": 1}, path)

    def fail(checkpoint, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=f"cannot write {path} \\(.*(No space left|unexpected pos)"):
        atomic_save({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
def test_a_device_that_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.unlink", lambda *arguments, **options: None)
    (tmp_path / ".a.ckpt.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
        atomic_save({"weights": torch.zeros(100_000)}, tmp_path / "a.ckpt")


def test_the_last_two_stay(tmp_path):
    for step in range(3):
        save_resume_checkpoint({"step": step}, tmp_path)
    there = {file.name: torch.load(file, weights_only=True)["step"] for file in tmp_path.iterdir()}
    assert there == {"resume.ckpt": 2, "resume.previous.ckpt": 1}


def test_the_log_goes_on(tmp_path):
    def logger():
        return ResumableCSVLogger(save_dir=str(tmp_path), name="", version="")

    first = logger()
    for step in range(5):
        first.log_metrics({"loss": step}, step=step)
    first.save()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("7")  # died in the middle of a row
    then = logger()
    then.fast_forward(3)
    then.log_metrics({"loss": 30, "more": 1}, step=3)
    then.save()
    with (tmp_path / "metrics.csv").open() as file:
        rows = [(row["step"], row["loss"], row["more"]) for row in csv.DictReader(file)]
    assert rows == [("0", "0", ""), ("1", "1", ""), ("2", "2", ""), ("3", "30", "1")]
    anew = logger()
    with pytest.warns(UserWarning, match="will be deleted"):
        anew.log_metrics({"loss": 9}, step=0)
    anew.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step", "9,0"]


def test_what_may_differ():
    there = {"seed": 0, "trainer": {"max_epochs": 2, "devices": 1, "precision": "32-true"}, "output_dir": "a"}
    here = {"seed": 0, "trainer": {"max_epochs": 3, "devices": 2, "precision": "32-true"}, "output_dir": "b"}
    assert differences(there, here) == []
    assert lengths(there, here) == ["trainer.max_epochs=2 there, 3 here"]
    assert rng_affecting_changes(there, here) == []  # the module's keys are older than these configs
    here["module"] = {"compile": True, "channels_last": True}
    assert differences(there, here) == []
    assert rng_affecting_changes(there, here) == ["module.compile=False there, True here"]
    here["module"] = {"compile": False, "channels_last": False}
    assert rng_affecting_changes(there, here) == ["module.channels_last=True there, False here"]
    here["trainer"]["precision"], here["seed"] = "16-mixed", 1
    assert differences(there, here) == ["seed=0 there, 1 here", "trainer.precision=32-true there, 16-mixed here"]


def test_signals_wait_where_the_run_is_patient():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        signals.deferred = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)  # of a sweep that was asked to end as well
        with pytest.raises(RunInterrupted):  # the second Ctrl-C: now
            os.kill(os.getpid(), signal.SIGINT)
        signals.deferred = False
        with pytest.raises(RunInterrupted) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
