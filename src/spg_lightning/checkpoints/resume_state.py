"""Find the checkpoint that a run resumes from, and check that it belongs to the run."""

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from spg_lightning.checkpoints.compatibility import differences, exceeded_limit, lengths, rng_affecting_changes
from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.checkpoints.metadata import KEY, load_checkpoint
from spg_lightning.errors import UserError
from spg_lightning.utils.run_dir import RunDir

log = logging.getLogger(__name__)

STATE = "resume"  # the entry that only resume checkpoints have


@dataclass(frozen=True)
class ResumeState:
    """The point at which a run resumes.

    Attributes:
        path: of the checkpoint.
        step: completed optimizer steps.
        epoch, batch: of the next batch; `batch` batches of this epoch are done.
        rng_states: random number generators of each process.
        seconds: of training so far.
        resume_steps: steps at which the run resumed before.
        num_train_images: size of the training set.
        class_names: in the order of the labels.
    """

    path: Path
    step: int
    epoch: int
    batch: int
    rng_states: list[dict[str, Any]]
    seconds: float
    resume_steps: list[int]
    num_train_images: int
    class_names: tuple[str, ...]


def save_resume_checkpoint(checkpoint: dict[str, Any], run_dir: RunDir) -> None:
    """Write the newest resume checkpoint; the one before it is kept as `run_dir.previous`."""
    atomic_save(checkpoint, run_dir.resume, run_dir.previous)


def latest_checkpoint(run_dir: RunDir) -> Path | None:
    """Return the newest resume checkpoint, or None."""
    return next((path for path in (run_dir.resume, run_dir.previous) if path.is_file()), None)


def find_resume_state(resume: str | None, run_dir: RunDir, config: dict[str, Any]) -> ResumeState | None:
    """Return the point to resume at, None for a fresh start, and log which.

    Args:
        resume: None, "auto" for the newest valid checkpoint of the run folder, or the path of a checkpoint.
        run_dir: of this run.
        config: of this run, resolved.

    Raises:
        UserError: no valid checkpoint, or one of another config.
    """
    if resume is None:
        return None
    if resume == "auto" and latest_checkpoint(run_dir) is None:
        log.info("resume=auto: no checkpoint in %s; starting from scratch", run_dir.checkpoints)
        return None
    path, checkpoint = newest_valid_checkpoint(run_dir) if resume == "auto" else _named(Path(resume).expanduser())
    saved, state = checkpoint[KEY]["config"], checkpoint[STATE]
    if changes := differences(saved, config):
        more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
        raise UserError(
            f"resume={resume}: {path} has another config ({changes[0]}{more}); give the same overrides, choose another "
            "folder with output_dir=..., or start again with overwrite=true"
        )
    if limit := exceeded_limit(config, state["epoch"] + (state["batch"] > 0), state["step"]):
        reached = f"in epoch {state['epoch'] + 1}" if state["batch"] else f"after {state['epoch']} epochs"
        raise UserError(f"{limit}, but {path} is at step {state['step']}, {reached}; raise the limit")
    log.info("resuming after step %d (epoch %d, batch %d): %s", state["step"], state["epoch"], state["batch"], path)
    if changes := lengths(saved, config):
        log.warning("%s: the schedule follows the new length from here on", changes[0])
    if changes := rng_affecting_changes(saved, config):
        log.warning("%s: dropout draws other random numbers than in an uninterrupted run", changes[0])
    stored = {field.name: state[field.name] for field in fields(ResumeState) if field.name in state}
    return ResumeState(path=path, class_names=tuple(checkpoint[KEY]["class_names"]), **stored)


def newest_valid_checkpoint(run_dir: RunDir) -> tuple[Path, dict[str, Any]]:
    """Return the newest readable resume checkpoint and its content; a warning names a damaged newer one.

    Raises:
        UserError: none is readable.
    """
    errors = []
    for path in (run_dir.resume, run_dir.previous):
        try:
            checkpoint = _read(path) if path.is_file() else None
        except UserError as error:
            errors.append(str(error))
            continue
        if checkpoint is not None:
            if errors:
                log.warning("%s; resuming from the previous one", errors[0])
            return path, checkpoint
    raise UserError(f"resume=auto: {errors[0]}; no other checkpoint is valid; start again with overwrite=true")


def _named(path: Path) -> tuple[Path, dict[str, Any]]:
    if not path.is_file():
        raise UserError(
            f"resume={path}: no such file; give a run's checkpoints/resume.ckpt (a finished run keeps it with "
            "keep_resume_state=true), or resume=auto"
        )
    try:
        return path, _read(path)
    except UserError as error:
        run_dir = RunDir(path.parent.parent)
        hint = (
            f"; resume={run_dir.previous} is the previous one"
            if path == run_dir.resume and run_dir.previous.is_file()
            else ""
        )
        raise UserError(f"resume: {error}{hint}") from error


def _read(path: Path) -> dict[str, Any]:
    checkpoint = load_checkpoint(path)
    if STATE not in checkpoint:
        raise UserError(
            f"{path} holds weights but no training state; give a run's checkpoints/resume.ckpt, or resume=auto"
        )
    return checkpoint
