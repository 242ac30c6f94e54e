"""What the user sees of a sweep whose jobs run at once: a line for each that ends, on a terminal also a live table."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from spg_lightning.config.device_slots import Slot
from spg_lightning.config.run_progress import RunProgress, run_progress
from spg_lightning.config.slot_processes import SlotJob
from spg_lightning.utils.durations import duration
from spg_lightning.utils.run_dir import RunDir


class SweepMonitor:
    """Prints starts and ends, and keeps the table.

    Args:
        count: number of jobs.
        console: where to print.
    """

    def __init__(self, count: int, console: Console) -> None:
        self._count, self._num_ended = count, 0
        self._console = console
        self._live: Live | None = None
        self._running: dict[Path, tuple[SlotJob, Slot, float]] = {}  # by log file, with the start in seconds

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table until the block ends, if the console is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        # refreshed by hand: forked processes would inherit the locks of a thread, not the thread
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield

    def started(self, job: SlotJob, slot: Slot) -> None:
        """Note the start of a job."""
        self._running[job.log] = job, slot, time.monotonic()
        if self._live is None:
            self._print(f"{job.name}: on {slot}, log: {job.log}")

    def ended(self, job: SlotJob, outcome: str) -> None:
        """Print the outcome of a job."""
        _, slot, start = self._running.pop(job.log)
        self._num_ended += 1
        took = duration(time.monotonic() - start)
        self._print(f"{outcome} [{self._num_ended} of {self._count}; {took} on {slot}]")

    def stopping(self, count: int) -> None:
        """Print that an interruption ends the running jobs."""
        if count:
            self._print(f"stopping {count} jobs, which save first; Ctrl-C again ends them at once")

    def refresh(self) -> None:
        """Read the progress of the running jobs again."""
        if self._live is not None:
            self._live.update(self.table(), refresh=True)

    def table(self) -> Table:
        """Return the table of the running jobs."""
        waiting = self._count - self._num_ended - len(self._running)
        table = Table(title=f"{self._num_ended} of {self._count} jobs ended, {waiting} waiting", title_justify="left")
        for column in ("job", "device", "step", "losses", "time left"):
            table.add_column(column, overflow="fold")
        for job, slot, _ in self._running.values():
            table.add_row(job.name, str(slot), *_cells(run_progress(RunDir(job.folder))))
        return table

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cells(progress: RunProgress | None) -> tuple[str, str, str]:
    if progress is None:
        return "", "", ""
    step = str(progress.step) if progress.steps is None else f"{progress.step} of {progress.steps}"
    losses = ", ".join(f"{term} {value:.3g}" for term, value in progress.losses.items())
    return step, losses, "" if progress.seconds_left is None else duration(progress.seconds_left)
