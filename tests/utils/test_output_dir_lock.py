"""One run in a folder at a time; a dead one holds nothing."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys

import pytest

from spg_lightning import UserError
from spg_lightning.utils.output_dir_lock import output_dir_lock

HOLDER = """
import os, sys, time
from pathlib import Path
from spg_lightning.utils.output_dir_lock import output_dir_lock
with output_dir_lock(Path(sys.argv[1])):
    child = os.fork()  # as a loader process is
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return another process that is in tmp_path / "run", and the number of its child."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    ) as process:
        child = int(process.stdout.readline())
        yield process, child
        process.kill()
        os.kill(child, signal.SIGKILL)


def test_a_second_run_is_kept_out_until_the_first_is_dead(holder, tmp_path):
    process, child = holder
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=f"^{re.escape(str(folder))}: another run \\(process {process.pid} on "):
        output_dir_lock(folder).__enter__()
    process.kill()
    process.wait()
    os.kill(child, 0)  # outlives it
    with output_dir_lock(folder):
        assert (folder / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_training_and_sweeps_are_kept_out(holder, tmp_path, cli):
    process, _ = holder
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/.jobs").symlink_to(tmp_path / "run")  # the folder that is held
    for more in ([f"output_dir={tmp_path / 'run'}"], ["-m", "seed=0,1", f"output_dir={tmp_path / 'sweep'}"]):
        outcome = cli("train", *more)
        assert outcome.code == 1
        assert re.search(
            f"^error: \\S*(run|.jobs): another run \\(process {process.pid} on .*\n$", outcome.err, re.MULTILINE
        ), outcome.err
        assert outcome.err.count("error:") == 1
    for folder, holds in (("run", [".lock"]), ("sweep", [".jobs"])):
        assert [file.name for file in (tmp_path / folder).iterdir()] == holds, "nothing was written there"


def test_nothing_of_it_stays(tmp_path):
    with output_dir_lock(tmp_path / "a" / "run"):
        assert (tmp_path / "a" / "run" / ".lock").is_file()
    assert not list((tmp_path / "a" / "run").iterdir())
    with pytest.raises(ZeroDivisionError), output_dir_lock(tmp_path):
        raise ZeroDivisionError
    assert not (tmp_path / ".lock").exists()


def test_a_lock_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    def late(file, how):
        (tmp_path / ".lock").unlink()  # the run that had it has ended between our opening and our locking

    monkeypatch.setattr(fcntl, "lockf", late)
    with pytest.raises(UserError, match="start again"):
        output_dir_lock(tmp_path).__enter__()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch, number):
    def without(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", without)
    with output_dir_lock(tmp_path), output_dir_lock(tmp_path):
        pass


def test_the_first_process_locks_for_all(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with output_dir_lock(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / ".lock").exists()
