"""Commands in forks of this process, which has imported everything, so that they can be killed often."""

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

import spg_lightning
from spg_lightning.config import sweep_job
from tests.faults.forked import call, end_with


def import_everything() -> None:
    """Import all modules of the package, which its commands do when they need them. Nothing here may start a thread."""
    for module in pkgutil.walk_packages(spg_lightning.__path__, "spg_lightning."):
        if ".conf" not in module.name:
            importlib.import_module(module.name)
    importlib.import_module("torch._dynamo")


ORPHANS_END_S = 60  # on cores that other processes share


class ForkedJob:
    """Takes the place of `subprocess.Popen` for a sweep's jobs."""

    def __init__(self, command: list[str], env: dict[str, str], **_: object) -> None:
        name = command[2].rpartition(".")[2]
        self.pid, self.code = fork(lambda: call(name, command[3:]), None, env), None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code


def fork(act: Callable[[], int | None], output: Path | None = None, env: dict[str, str] | None = None) -> int:
    """Run a function in a fork that is the leader of a group, and return its process id.

    Args:
        act: returns the exit code, None for 0.
        output: file for standard output and error; None keeps them.
        env: environment; None keeps it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    end_with(lambda: _started(act, output, env))


def _started(act: Callable[[], int | None], output: Path | None, env: dict[str, str] | None) -> int | None:
    os.setpgid(0, 0)
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    if output is not None:
        number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(number, 1)
        os.dup2(number, 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    return act()


def command_in(folder: Path, command: str, words: list[str]) -> Callable[[], int]:
    """Return the call of a command in a folder."""

    def act() -> int:
        os.chdir(folder)
        os.environ["SPG_LIGHTNING_CACHE"] = f"{folder}.cache"
        sweep_job.subprocess = type(
            "", (), {"Popen": ForkedJob, "DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
        )  # type: ignore[assignment]
        return call(command, words)

    return act


def finish(pid: int, kill_after: float | None = None, is_alone: bool = False) -> int | None:
    """Wait for a fork, or kill it; return its exit code, None of a killed one.

    Args:
        pid: of the fork.
        kill_after: seconds; None waits for its end.
        is_alone: do not kill the processes that it started; they have to end by themselves.
    """
    started = time.monotonic()
    while kill_after is None or time.monotonic() - started < kill_after:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    family = [*psutil.Process(pid).children(recursive=True)]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for process in [] if is_alone else family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(family, timeout=ORPHANS_END_S)
    assert not alive, f"{alive} outlive the killed command"
    return None
