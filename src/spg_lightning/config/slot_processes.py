"""Run jobs in processes of their own, as many at once as there are slots. A job that dies frees its slot."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from spg_lightning.config.device_slots import Slot
from spg_lightning.utils.signals import SIGNALS, stop_with_parent

REFRESH_S = 1.0
HELD_SIGNALS = (*SIGNALS, signal.SIGHUP)


@dataclass(frozen=True)
class SlotJob:
    """A job for a slot.

    Attributes:
        name: of the job.
        folder: of its run.
        log: file for the output of its process.
        run: is called in the process; its result is pickled.
        conclude: is called with the exit code of the process, and returns a line about the outcome.
    """

    name: str
    folder: Path
    log: Path
    run: Callable[[], Any]
    conclude: Callable[[int], str]


class Monitor(Protocol):
    """Shows what happens to the jobs."""

    def started(self, job: SlotJob, slot: Slot) -> None:
        """A job starts."""

    def ended(self, job: SlotJob, outcome: str) -> None:
        """A job ended."""

    def stopping(self, count: int) -> None:
        """An interruption ends this many jobs."""

    def refresh(self) -> None:
        """About a second passed, or a job ended."""


@dataclass(frozen=True)
class _Worker:
    index: int
    job: SlotJob
    slot: Slot
    process: BaseProcess


def run_in_slots(jobs: Iterable[SlotJob], slots: Sequence[Slot], monitor: Monitor, stop_timeout_s: float) -> list[Any]:
    """Run each job in a forked process, on the least busy devices with a free slot.

    An interruption reaches all processes as SIGINT, and is raised once they have ended.

    Args:
        jobs: the next one is taken while the others run.
        slots: see `Slot`.
        monitor: is called in this process.
        stop_timeout_s: for an interrupted process to end before it is interrupted again, and then killed. A second Ctrl-C
            shortens it.

    Returns:
        The jobs' results in order; None where a process died.
    """
    free, running, results = list(slots), dict[Connection, _Worker](), dict[int, Any]()
    waiting = iter(enumerate(jobs))
    following = next(waiting, None)
    try:
        while following or running:
            while following and free:
                slot = max(free, key=lambda slot: sum(other.devices == slot.devices for other in free))
                free.remove(slot)
                with _signals_held():
                    receiver, worker = _start(*following, slot)
                    running[receiver] = worker
                monitor.started(worker.job, slot)
                following = next(waiting, None)
            for ready in wait(list(running), REFRESH_S):
                assert isinstance(ready, Connection)
                worker = running[ready]
                results[worker.index] = None
                with suppress(EOFError), ready:
                    results[worker.index] = ready.recv()
                worker.process.join()
                del running[ready]
                free.append(worker.slot)
                monitor.ended(worker.job, worker.job.conclude(worker.process.exitcode or 0))
            monitor.refresh()
    except BaseException:
        monitor.stopping(len(running))
        _stop([worker.process for worker in running.values()], stop_timeout_s)
        raise
    return [results[index] for index in sorted(results)]


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold interruptions until the block ends. Python loses those that arrive while it forks."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _start(index: int, job: SlotJob, slot: Slot) -> tuple[Connection, _Worker]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, slot, sender))
    process.start()
    sender.close()  # the end of the process then ends the stream
    return receiver, _Worker(index, job, slot, process)


def _work(job: SlotJob, slot: Slot, sender: Connection) -> None:
    stop_with_parent()
    os.setpgrp()  # Ctrl-C in the terminal reaches this process from its parent alone, once
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with job.log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not those of a live table
    slot.occupy()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
        sender.send(job.run())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _stop(processes: Sequence[BaseProcess], timeout_s: float) -> None:
    for _ in range(2):
        alive = [process for process in processes if process.is_alive()]
        for process in alive:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGINT)
        deadline = time.monotonic() + timeout_s
        with suppress(KeyboardInterrupt):
            for process in alive:
                process.join(max(deadline - time.monotonic(), 0))
    for process in processes:
        process.kill()
        process.join()
