"""On a terminal a sweep's jobs are a live table; elsewhere each start and end is a line."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from spg_lightning.config.device_slots import Slot
from spg_lightning.config.slot_processes import SlotJob
from spg_lightning.config.sweep_monitor import SweepMonitor


@pytest.fixture
def job(tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {max_epochs: 2, max_steps: -1}\n")
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train/loss_total,train/loss_b1,train/step_seconds,val/objective\n0,19,4.5,0.25,2.0,\n0,19,,,,60.0\n"
    )
    return SlotJob("seed-0", tmp_path, Path("logs/0.log"), lambda: None, str)


def shown(job, is_terminal):
    out = StringIO()
    monitor = SweepMonitor(3, Console(file=out, force_terminal=is_terminal, width=120))
    with monitor.shown():
        monitor.started(job, Slot(("2",), (0,)))
        monitor.refresh()
        monitor.ended(job, "seed-0: trained")
        monitor.refresh()
    return out.getvalue()


def test_lines_without_a_terminal(job):
    first, last = shown(job, is_terminal=False).splitlines()
    assert first == "seed-0: on GPU 2, log: logs/0.log"
    assert last == "seed-0: trained [1 of 3; 0 s on GPU 2]"


def test_a_table_on_a_terminal(job):
    text = shown(job, is_terminal=True)
    assert "0 of 3 jobs ended, 2 waiting" in text
    row = next(line for line in text.splitlines() if "20 of 40" in line)
    cells = ("seed-0", "GPU 2", "total 4.5, b1 0.25", "40 s")
    assert all(cell in row for cell in cells), row
    assert "seed-0: trained [1 of 3; 0 s on GPU 2]" in text
    assert "1 of 3 jobs ended, 2 waiting" in text
