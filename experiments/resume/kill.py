"""Runs that are killed at random moments and go on: are they the run that was not killed, bit by bit?

Half of the runs are killed at a random moment between their first checkpoint and the end of the run that is not killed, the
other half in the middle of writing a checkpoint. Command: python experiments/resume/kill.py --output runs/resume
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from spg_lightning.utils.provenance import provenance

SMALL = (
    "dataset=toybirds", "dataset.resize=36", "dataset.crop=32", "dataset.batch_size=8", "stem.a3_channels=32",
    "stem.b_channels=16", "trainer=cpu", "trainer.max_epochs=4", "trainer.limit_train_batches=15", "logger=csv",
    "trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "data.num_workers=1", "callbacks.throughput=null", "gallery_images=0",
    "report_images=0", "callbacks.progress=null", "module.num_thresholds=50", "data.eval_batch_size=16", "checkpoint_every_steps=4",
    "keep_resume_state=true",
)  # fmt: skip
ENDED = "the run had ended"
COLUMNS = (
    "experiment", "commit", "processes", "run", "killed_in", "killed_after_s", "resumed_after_steps", "of_steps",
    "different_tensors", "same_metrics_json", "same_metrics_csv", "seed", "device", "versions",
)  # fmt: skip


def start(folder: Path, overrides: list[str]) -> subprocess.Popen:
    """Start a run in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "spg_lightning.train", *overrides, f"output_dir={folder}", "resume=auto"],
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, process_group=0,
        )  # fmt: skip


def finish(folder: Path, overrides: list[str]) -> float:
    """Run to the end; return the seconds from the first checkpoint on."""
    process, began = start(folder, overrides), None
    while process.poll() is None:
        if began is None and (folder / "checkpoints/resume.ckpt").exists():
            began = time.monotonic()
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"a run failed with code {process.returncode}: see {folder / 'output.txt'}")
    return time.monotonic() - (began or 0)


def kill(folder: Path, overrides: list[str], seconds: float, in_a_write: bool) -> tuple[str, float]:
    """Start a run and kill it so many seconds after its first checkpoint, or in the first write after that."""
    process = start(folder, overrides)
    began, where = None, ENDED
    while process.poll() is None:
        if began is None and (folder / "checkpoints/resume.ckpt").exists():
            began = time.monotonic()
        if began is not None and time.monotonic() - began >= seconds:
            writing = any((folder / "checkpoints").glob(".*.tmp"))
            if writing or not in_a_write:
                os.killpg(process.pid, signal.SIGKILL)
                where = "a write" if writing else "a random moment"
                break
        time.sleep(0.0005 if in_a_write else 0.01)
    process.wait()
    if where == ENDED and process.returncode:
        raise SystemExit(f"a run failed with code {process.returncode}: see {folder / 'output.txt'}")
    return where, round(time.monotonic() - (began or time.monotonic()), 2)


def compare(folder: Path, reference: Path) -> dict[str, object]:
    """Return what differs: weights, optimizer, schedule; numbers; log."""
    different = 0
    parts = {
        "last.ckpt": ("state_dict",),
        "best.ckpt": ("state_dict",),
        "resume.ckpt": ("optimizer_states", "lr_schedulers"),
    }
    for name, compared in parts.items():
        one, other = (
            torch.load(run / "checkpoints" / name, weights_only=True, map_location="cpu") for run in (folder, reference)
        )
        for part in compared:
            different += count_different(one[part], other[part])
    names = ("metrics.json", "metrics.csv")
    same = [(folder / name).read_text() == (reference / name).read_text() for name in names]
    facts = json.loads((folder / "provenance.json").read_text())
    return {
        "different_tensors": different, "same_metrics_json": same[0], "same_metrics_csv": same[1],
        "resumed_after_steps": " ".join(map(str, facts["resumed_after_steps"])), "of_steps": facts["steps"],
    }  # fmt: skip


def count_different(one: object, other: object) -> int:
    """Count the leaves of two states that are not the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        return sum(count_different(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return abs(len(one) - len(other)) + sum(map(count_different, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return int(not torch.equal(one, other))
    return int(one != other)


def main() -> None:
    """Kill, go on, compare; write results.csv; exit with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("overrides", nargs="*", default=[], help="after --: further overrides of every run")
    given = parser.parse_args()
    moments, facts, rows = random.Random(given.seed), provenance(0, datetime.now(UTC)), []
    for processes in given.processes:
        ddp = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={processes}"] if processes > 1 else []
        overrides = [*SMALL, *ddp, *given.overrides]
        folder = given.output / f"{processes}-processes"
        seconds = finish(folder / "whole", overrides)
        for number in range(given.runs):
            run = folder / f"{number:02d}"
            in_a_write = bool(number % 2)
            moment = moments.uniform(0, seconds * (0.6 if in_a_write else 1))
            while (killed := kill(run, overrides, moment, in_a_write))[0] == ENDED:  # too late: that was no kill
                shutil.rmtree(run)
                moment /= 2
            where, after = killed
            finish(run, overrides)
            found = compare(run, folder / "whole")
            rows.append(
                {
                    "experiment": "resume", "commit": facts["commit"], "processes": processes, "run": number,
                    "killed_in": where, "killed_after_s": after, **found, "seed": 0, "device": facts["device"],
                    "versions": " ".join(f"{k}={v}" for k, v in facts["versions"].items()),
                }
            )  # fmt: skip
            print({key: rows[-1][key] for key in COLUMNS[2:11]}, flush=True)
            with (given.output / "results.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
    good = sum(not r["different_tensors"] and bool(r["same_metrics_json"] and r["same_metrics_csv"]) for r in rows)
    print(f"{good} of {len(rows)} killed runs are the run that was not killed")
    sys.exit(good != len(rows))


if __name__ == "__main__":
    main()
