"""The checkpoints a run goes on with: where they are, which one is taken, and whether it is of this run."""

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from spg_lightning.checkpoints.compatibility import differences, exceeded_limit, lengths, rng_affecting_changes
from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.checkpoints.metadata import KEY, load_checkpoint
from spg_lightning.errors import UserError

log = logging.getLogger(__name__)

LAST, PREVIOUS = "resume.ckpt", "resume.previous.ckpt"
STATE = "resume"  # the part of a checkpoint that no other checkpoint has


@dataclass(frozen=True)
class ResumeState:
    """Where a run goes on.

    Attributes:
        path: of the checkpoint.
        step: how many steps have been made.
        epoch, batch: the next batch: of this epoch, and so many of it have been seen.
        rng_states: the generators of each process.
        seconds: that the training has taken.
        resume_steps: the steps at which it went on before.
        num_train_images: how many there were to train with.
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


def save_resume_checkpoint(checkpoint: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint as the last one; the one of before stays beside it."""
    atomic_save(checkpoint, folder / LAST, folder / PREVIOUS)


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint to go on with, if there is one."""
    return next(iter(_kept(folder)), None)


def find_resume_state(resume: str | None, folder: Path, config: dict[str, Any]) -> ResumeState | None:
    """Return where to go on, None for a fresh start; one line says which.

    Args:
        resume: None, "auto" for the last whole checkpoint in `folder`, or a file.
        folder: the run's checkpoints.
        config: of this run, resolved.

    Raises:
        UserError: no checkpoint that is whole, or one of another config.
    """
    if resume is None:
        return None
    auto = resume == "auto"
    paths = _kept(folder)
    if auto and not paths:
        log.info("resume=auto: no checkpoint to go on with in %s; starts anew", folder)
        return None
    path, checkpoint = _first_whole(paths) if auto else _named(Path(resume).expanduser())
    there = checkpoint[KEY]["config"]
    if other := differences(there, config):
        raise UserError(
            f"resume={resume}: {path} is of another config ({other[0]}{_more(other)}); "
            "give the same overrides, or choose another folder with output_dir=..., or start anew with resume=null"
        )
    state = checkpoint[STATE]
    if limit := exceeded_limit(config, state["epoch"] + (state["batch"] > 0), state["step"]):
        raise UserError(
            f"{limit}, but {path} has come to step {state['step']}, {_epochs(state)}; give no less than that"
        )
    log.info("goes on after step %d (epoch %d, batch %d): %s", state["step"], state["epoch"], state["batch"], path)
    if longer := lengths(there, config):
        log.warning("%s: from here on the schedule follows the new length", longer[0])
    if rng_states := rng_affecting_changes(there, config):
        log.warning("%s: dropout and the like draw other random numbers", rng_states[0])
    kept = {field.name: state[field.name] for field in fields(ResumeState) if field.name in state}
    return ResumeState(path=path, class_names=tuple(checkpoint[KEY]["class_names"]), **kept)


def newest_valid_checkpoint(folder: Path) -> Path:
    """Return the newest whole checkpoint to go on with; one line says so where it is not the last one.

    Raises:
        UserError: none is whole, or there is none.
    """
    return _first_whole(_kept(folder))[0]


def _kept(folder: Path) -> list[Path]:
    return [folder / name for name in (LAST, PREVIOUS) if (folder / name).is_file()]


def _first_whole(paths: list[Path]) -> tuple[Path, dict[str, Any]]:
    said = []
    for path in paths:
        try:
            checkpoint = _read(path)
        except UserError as error:
            said.append(str(error))
            continue
        if said:
            log.warning("%s; the one before it is taken", said[0])
        return path, checkpoint
    raise UserError(f"resume=auto: {said[0]}; no other one is whole; start anew with resume=null")


def _named(path: Path) -> tuple[Path, dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"resume={path}: no such file; a run's checkpoints/{LAST} is meant, or resume=auto")
    try:
        return path, _read(path)
    except UserError as error:
        other = path.with_name(PREVIOUS)
        hint = f"; resume={other} is the one before it" if path.name == LAST and other.is_file() else ""
        raise UserError(f"resume: {error}{hint}") from error


def _read(path: Path) -> dict[str, Any]:
    checkpoint = load_checkpoint(path)
    if STATE not in checkpoint:
        raise UserError(f"{path} holds weights, not how to go on; give a run's checkpoints/{LAST}, or resume=auto")
    return checkpoint


def _epochs(state: dict[str, Any]) -> str:
    return f"in epoch {state['epoch'] + 1}" if state["batch"] else f"after {state['epoch']} epochs"


def _more(other: list[str]) -> str:
    return f", and {len(other) - 1} more" if len(other) > 1 else ""
