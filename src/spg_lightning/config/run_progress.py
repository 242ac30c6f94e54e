"""The progress of a training, read from its run folder while it runs."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from spg_lightning.utils.run_dir import RunDir

LOSS = "train/loss_"  # begins the columns of losses in metrics.csv


@dataclass(frozen=True)
class RunProgress:
    """The position of a training.

    Attributes:
        step: number of steps until the last logged one.
        steps: number of all steps; None until the first validation, which tells how many an epoch has.
        losses: by term.
        seconds_left: for the remaining steps, without validations; None if unknown.
    """

    step: int
    steps: int | None
    losses: Mapping[str, float]
    seconds_left: float | None


def run_progress(run_dir: RunDir) -> RunProgress | None:
    """Return the progress of a run, None before its first logged step, or without `logger=csv`."""
    try:
        with run_dir.log.open(newline="") as file:
            rows = list(csv.DictReader(line for line in file if line.endswith("\n")))  # not one that is half written
        trainer = OmegaConf.load(run_dir.config).trainer
    except FileNotFoundError:
        return None
    logged = [row for row in rows if row.get(f"{LOSS}total")]
    if not logged:
        return None
    last, steps = logged[-1], _num_steps(trainer, rows)
    step = int(last["step"]) + 1
    losses = {key.removeprefix(LOSS): float(value) for key, value in last.items() if key.startswith(LOSS) and value}
    seconds = [float(row["train/step_seconds"]) for row in logged if row.get("train/step_seconds")]
    left = None if steps is None or not seconds else seconds[-1] * max(steps - step, 0)
    return RunProgress(step, steps, losses, left)


def _num_steps(trainer: DictConfig, rows: list[dict[str, str]]) -> int | None:
    limits = [int(trainer.max_steps)] if trainer.max_steps > 0 else []
    validated = next((row for row in rows if row.get("val/objective")), None)
    if validated is not None and trainer.max_epochs:  # at the end of an epoch
        limits.append((int(validated["step"]) + 1) * int(trainer.max_epochs) // (int(validated["epoch"]) + 1))
    return min(limits, default=None)
