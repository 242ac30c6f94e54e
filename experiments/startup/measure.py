"""Time what users wait for: imports, and the first lines of a command.

    python experiments/startup/measure.py --before <checkout> --after . --output experiments/startup

Both checkouts run in the same environment and take turns. CPU time stands beside wall time, which other processes stretch.
Writes results.csv, a row a measurement, and table.md with the medians.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = {
    "import torch": "import torch",
    "import pytorch_lightning": "import pytorch_lightning",
    "LocalizationMetric": "from spg_lightning import LocalizationMetric",
    "train, compose": "from spg_lightning import train, compose",
    "spg_lightning.localizer": "import spg_lightning.localizer",
}
NOT_OURS = ("import torch", "import pytorch_lightning")  # the floors: the same in both checkouts
TRAIN = (
    "trainer.limit_train_batches=1", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "dataset.max_epochs=1",
    "training_free=none", "gallery_images=0", "report_images=0", "callbacks.progress=null", "trainer=cpu", "data.num_workers=0",
)  # fmt: skip
COLUMNS = ("entry", "checkout", "round", "cpu_s", "wall_s", "load")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def environment(checkout: Path) -> dict[str, str]:
    """Return the variables that run a checkout's package, with one thread."""
    return {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1"}


def complete(words: list[str], checkout: Path) -> tuple[float, float]:
    """Run Python with these words to its end; return its seconds of CPU and of wall time."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], env=environment(checkout), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{words} failed in {checkout}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began


def training(checkout: Path, folder: str) -> dict[str, tuple[float, float]]:
    """Train one step; return the seconds of CPU and wall time to its first line and to its training."""
    command = [sys.executable, "-m", "spg_lightning.train", *TRAIN, f"output_dir={folder}"]
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=environment(checkout), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    found: dict[str, tuple[float, float]] = {}
    for line in process.stderr:
        so_far = (cpu_seconds(process.pid), time.monotonic() - began)
        found.setdefault("train: first line", so_far)
        if " images of " in line:
            found["train: data and network are ready"] = so_far
    if process.wait():
        raise SystemExit(f"{command} failed in {checkout}")
    return found


def cpu_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def measure(checkout: Path, is_before: bool) -> dict[str, tuple[float, float]]:
    """Return the seconds of every entry, once."""
    found = {
        name: complete(["-c", code], checkout) for name, code in IMPORTS.items() if is_before or name not in NOT_OURS
    }
    found["train --help"] = complete(["-m", "spg_lightning.train", "--help"], checkout)
    with tempfile.TemporaryDirectory() as folder:
        return found | training(checkout, folder)


def table(rows: list[dict[str, object]]) -> str:
    """Return the medians, an entry a row."""
    lines = ["| | before, CPU s | after, CPU s | before, wall s | after, wall s |", "| --- | --- | --- | --- | --- |"]
    for entry in dict.fromkeys(row["entry"] for row in rows):
        cells = []
        for unit in ("cpu_s", "wall_s"):
            for checkout in ("before", "after"):
                values = [float(str(r[unit])) for r in rows if (r["entry"], r["checkout"]) == (entry, checkout)]
                cells.append(f"{statistics.median(values):.2f}" if values else "")
        lines.append(f"| {entry} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, in turns; write results.csv and table.md after each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the earlier commit")
    parser.add_argument("--after", type=Path, default=Path())
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    for checkout in (given.before, given.after):
        with tempfile.TemporaryDirectory() as folder:  # draws the toy birds, compiles, fills the disk's cache
            training(checkout, folder)
    rows: list[dict[str, object]] = []
    for number in range(given.rounds):
        for name, checkout in (("before", given.before), ("after", given.after)):
            for entry, (cpu, wall) in measure(checkout, name == "before").items():
                numbers = {"cpu_s": f"{cpu:.2f}", "wall_s": f"{wall:.2f}", "load": f"{os.getloadavg()[0]:.1f}"}
                rows.append({"entry": entry, "checkout": name, "round": number, **numbers})
                print(rows[-1], flush=True)
        with (given.output / "results.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        (given.output / "table.md").write_text(table(rows))


if __name__ == "__main__":
    main()
