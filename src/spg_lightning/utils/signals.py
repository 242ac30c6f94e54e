"""Signals that stop a run: it finishes its step, saves, and prints how to resume. Imports no torch."""

import ctypes
import signal
import sys
import threading
import time
from types import FrameType, TracebackType

from spg_lightning.errors import RunStopped

# Ctrl-C; preemption and scancel; `sbatch --signal=USR1@120` and submitit (USR2) ahead of the time limit
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def stop_with_parent() -> None:
    """Let Linux send SIGTERM to this process when its parent dies.

    A job that outlives its killed sweep would go on, and the repeated sweep would find its folder locked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class RunInterrupted(RunStopped):
    """A signal stopped the run.

    Attributes:
        signal: that stopped the run.
        code: exit code by the shell's convention: 130 for SIGINT, 143 for SIGTERM, 138 for SIGUSR1, 140 for SIGUSR2.
    """

    def __init__(self, number: int, line: str = "") -> None:
        super().__init__(line)
        self.signal = signal.Signals(number)
        self.code = 128 + number


class StopSignals:
    """Context manager that catches `SIGNALS`.

    Attributes:
        received: the first signal, None before.
        deferred: whether the run polls `received` at every step. Otherwise a signal also raises `RunInterrupted` at once.
            Python drops exceptions raised while it starts a process or runs a finalizer; the next poll catches these.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.deferred = False
        self._received_at, self._num_sigint = 0.0, 0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python allows no other thread to set handlers
            self._previous = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def waiting(self) -> float:
        """Return the seconds since the first signal, 0 before."""
        return time.monotonic() - self._received_at if self.received is not None else 0.0

    def install(self) -> None:
        """Install the handlers. Call it again after Lightning, whose handlers communicate with other processes, sets its own."""
        for number in self._previous:
            signal.signal(number, self._handler)

    def _handler(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._received_at = number, time.monotonic()
        self._num_sigint += number == signal.SIGINT  # a stopped sweep also sends SIGINT to its job
        if not self.deferred or self._num_sigint > 1:  # a second Ctrl-C stops at once
            raise RunInterrupted(number)
