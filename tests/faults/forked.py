"""Run a command in a fork of this process, which has imported everything: a case takes a second, not ten."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from hydra.core.global_hydra import GlobalHydra

MEMORY = 3 << 30  # bytes that a command may allocate beyond what the process had
FILE_SIZE = 1 << 30
CPU_SECONDS = 60
SECONDS = 300  # on cores that other processes share


@dataclass(frozen=True)
class Outcome:
    """The end of a command.

    Attributes:
        code: the exit code; the negative number of the signal that killed it; None if it took too long.
        out, err: its output.
        seconds: that it took.
        left: whether it left processes behind.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    left: bool


def run(command: str, arguments: list[str], folder: Path, environment: dict[str, str | None], fresh: bool) -> Outcome:
    """Run a command in a folder; its home and its folder for temporary files are below it."""
    out, err = folder.with_suffix(".stdout"), folder.with_suffix(".stderr")
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        end_with(lambda: _child(command, arguments, folder, environment, fresh, out, err))
    code = _wait(pid, started)
    left = _kill_group(pid)
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
    for path in (out, err):
        path.unlink()
    return Outcome(code, *texts, time.monotonic() - started, left)


def end_with(act: Callable[[], int | None]) -> NoReturn:
    """Call a function in a fork, and end the fork with the exit code that it returns, None for 0; 1 if it raises."""
    code = 1
    try:
        code = act() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _child(
    command: str,
    arguments: list[str],
    folder: Path,
    environment: dict[str, str | None],
    fresh: bool,
    out: Path,
    err: Path,
) -> int:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (
        os.fdopen(n, "w", buffering=1, encoding="utf-8", errors="backslashreplace") for n in (1, 2)
    )
    os.chdir(folder)
    home = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "MPLCONFIGDIR": str(folder / "home/mpl")}
    for key, value in {**home, **environment}.items():
        os.environ.pop(key, None)
        if value is not None:
            os.environ[key] = value
    _limit()
    return _fresh(command, arguments) if fresh else call(command, arguments)


def _limit() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))  # a fork starts at 0


def call(command: str, arguments: list[str]) -> int:
    """Run a command in this process; return its exit code."""
    tempfile.tempdir = None  # read TMPDIR again
    GlobalHydra.instance().clear()
    module = import_module(f"spg_lightning.{command}")
    sys.argv = [str(module.__file__), *arguments]
    try:
        module.main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _fresh(command: str, arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", f"spg_lightning.{command}", *arguments], check=False).returncode


def _wait(pid: int, started: float) -> int | None:
    pause = 0.005
    while time.monotonic() - started < SECONDS:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _kill_group(pid: int) -> bool:
    """Kill what is left of a command's processes; return whether there was any a second after its end."""
    for _ in range(20):
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return True
