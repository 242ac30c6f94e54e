"""Progress with rate and time left: a bar on a terminal, else a line now and then."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)
T = TypeVar("T")
INTERVAL_S = 30.0  # between lines


def tracked(items: Iterable[T], total: int) -> Iterator[T]:
    """Yield the items and report how many of `total` are finished, how many a second, and the time left."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("predicting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=total, rate="")
            for count, (item, seconds) in enumerate(_counted(items), start=1):
                yield item
                progress.update(task, completed=count, rate=f"{count / max(seconds, 1e-9):.1f} a second")
        return
    last = 0.0
    for count, (item, seconds) in enumerate(_counted(items), start=1):
        yield item
        if seconds - last >= INTERVAL_S and count < total:
            last, rate = seconds, count / seconds
            log.info("%d of %d images, %.1f a second, %s left", count, total, rate, _duration((total - count) / rate))


def _counted(items: Iterable[T]) -> Iterator[tuple[T, float]]:
    started = time.monotonic()
    for item in items:
        yield item, time.monotonic() - started


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
