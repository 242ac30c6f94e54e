"""Signals that ask a run to end: it finishes its step, saves, and says how to go on. Light to import."""

import signal
import threading
import time
from types import FrameType, TracebackType

# Ctrl-C; preemption and scancel; what `sbatch --signal=USR1@120` and submitit (USR2) have sent ahead of the time limit
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class RunInterrupted(BaseException):
    """A run was asked to end. No `Exception`: nobody on the way out takes it for a mistake of his own.

    Attributes:
        signal: that asked.
        code: to exit with, as a shell has it: 130 for SIGINT, 143 for SIGTERM, 138 for SIGUSR1, 140 for SIGUSR2.
    """

    def __init__(self, number: int, line: str = "") -> None:
        super().__init__(line)
        self.signal = signal.Signals(number)
        self.code = 128 + number


class StopSignals:
    """Catches the signals inside a `with`.

    Attributes:
        received: the first signal that came, None before.
        deferred: true while the run looks at `asked` at every step; else a signal raises `RunInterrupted` on the spot, too. Python
            loses what is raised while it starts a process or a finalizer runs; the next look at `asked` makes up for it.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.deferred = False
        self._since, self._by_hand = 0.0, 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python lets nobody else
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def waiting(self) -> float:
        """Return the seconds since the run was asked to end, 0 where it was not."""
        return time.monotonic() - self._since if self.received is not None else 0.0

    def install(self) -> None:
        """Take the signals over; again wherever Lightning, which talks to the other processes in its handler, took them."""
        for number in self._before:
            signal.signal(number, self._handler)

    def _handler(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._since = number, time.monotonic()
        self._by_hand += number == signal.SIGINT  # a sweep sends one, too, where it was asked to end as its job was
        if not self.deferred or self._by_hand > 1:  # the second Ctrl-C: now
            raise RunInterrupted(number)
