"""A folder becomes a run's own: an earlier run's files are set aside, those of the run that goes on are brought."""

import logging
import shutil
from itertools import count
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from spg_lightning.checkpoints.resume_state import LAST, PREVIOUS, latest_checkpoint, newest_valid_checkpoint
from spg_lightning.config.sweep_job import is_complete
from spg_lightning.errors import UserError
from spg_lightning.utils.atomic import atomically

log = logging.getLogger(__name__)

BEST, FINAL, DAMAGED, LOG = "best.ckpt", "last.ckpt", "damaged.ckpt", "metrics.csv"
ABANDONED = "abandoned"  # abandoned.ckpt with abandoned.best.ckpt and abandoned.metrics.csv; then abandoned-2.ckpt, ...


def take_over(folder: Path, cfg: DictConfig, position: Path | None) -> Path | None:
    """Make a folder a run's own: what an earlier one left there must not pass for this one's, and is not lost.

    Args:
        folder: of the run.
        cfg: of the run.
        position: the checkpoint it goes on with; None: it starts anew.

    Returns:
        the checkpoint that was set aside of a finished run of the same config, which nobody needs when it has been made again.

    Raises:
        UserError: the folder holds the finished run of another config, or what the run goes on with cannot be brought; the folder is
            as it was.
    """
    checkpoints = folder / "checkpoints"
    finished, aside = False, None
    if position is None or position.resolve() not in ((checkpoints / name).resolve() for name in (LAST, PREVIOUS)):
        finished = is_complete(folder, cfg)
        brought = _bring(position, checkpoints) if position is not None else {}
        aside = _set_aside(checkpoints)
        for left in (*_trio(checkpoints / LAST), checkpoints / FINAL):
            left.unlink(missing_ok=True)
        for copy, place in brought.items():
            copy.replace(place)
    elif position.name == PREVIOUS and (checkpoints / LAST).is_file():
        # damaged; the next one written would put it in the good one's place
        (checkpoints / LAST).replace(checkpoints / DAMAGED)
    for name in ("provenance.json", "metrics.json"):  # they say that the run of this config.yaml is finished
        (folder / name).unlink(missing_ok=True)
    return aside if finished else None


def began_with(resume: str, folder: Path) -> bool:
    """Tell whether the run whose checkpoints are in a folder began with `resume=<that>`."""
    there = folder / "config.yaml"
    if latest_checkpoint(folder / "checkpoints") is None or not there.is_file():
        return False
    return bool(OmegaConf.select(OmegaConf.load(there), "resume") == resume)


def throw_away(aside: Path) -> None:
    """Delete what was set aside."""
    for path in _trio(aside):
        path.unlink(missing_ok=True)


def _trio(position: Path) -> tuple[Path, Path, Path]:
    """Return where a run's checkpoint to go on with, its best one and its log lie, by the first."""
    if position.name.startswith(ABANDONED):
        return position, position.with_suffix(".best.ckpt"), position.with_suffix(f".{LOG}")
    return position, position.with_name(BEST), position.parent.parent / LOG


def _bring(position: Path, folder: Path) -> dict[Path, Path]:
    """Copy what a run goes on with beside its places in a folder, before anything there is touched; return copy -> place."""
    brought = {}
    for there, place in zip(_trio(position), _trio(folder / LAST), strict=True):
        if there.is_file():
            copy = place.with_name(
                f".{place.name}.brought"
            )  # one name: what a killed run leaves is overwritten by the next
            try:
                with there.open("rb") as old, atomically(copy) as new:
                    shutil.copyfileobj(old, new)
            except OSError as error:
                raise UserError(
                    f"cannot copy {there} to {place} ({error.strerror}); nothing there was touched: make room, then give the same "
                    "command again"
                ) from error
            brought[copy] = place
    return brought


def _set_aside(folder: Path) -> Path | None:
    """Move the checkpoint of the run that was here, its best and its log out of the way; return where the first lies now."""
    if (found := latest_checkpoint(folder)) is None:
        return None
    told = "it can be gone on with by resume="
    try:
        found = newest_valid_checkpoint(folder)
    except UserError:
        told = "its checkpoints are damaged: "
    names = (f"{ABANDONED}{f'-{number}' if number > 1 else ''}.ckpt" for number in count(1))
    aside = next(folder / name for name in names if not (folder / name).exists())
    for here, there in zip((found, *_trio(folder / LAST)[1:]), _trio(aside), strict=True):
        there.unlink(missing_ok=True)  # of one that the user has taken away
        if here.is_file():
            here.replace(there)
    (folder / PREVIOUS).unlink(missing_ok=True)
    log.warning("an earlier run was here; %s%s", told, aside)
    return aside
