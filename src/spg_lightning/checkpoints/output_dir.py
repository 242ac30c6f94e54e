"""Make an output folder a run's own: nothing of an earlier run is replaced without the user's consent."""

import shutil
from pathlib import Path

from omegaconf import OmegaConf

from spg_lightning.checkpoints.resume_state import ResumeState, latest_checkpoint
from spg_lightning.errors import UserError
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.run_dir import RunDir


def check_output_dir(run_dir: RunDir, resume: str | None, overwrite: bool) -> None:
    """Refuse a folder that holds another run, unless `overwrite` is set or `resume` continues that run.

    Raises:
        UserError: the folder holds a run; it is unchanged.
    """
    continues = resume == "auto" or (
        resume is not None and Path(resume).expanduser() in (run_dir.resume, run_dir.previous)
    )
    if run_dir.is_used and not overwrite and not continues:
        kind = "a finished" if run_dir.is_finished else "an unfinished"
        way_out = "" if _is_over(run_dir) else "continue it with resume=auto, "
        raise UserError(
            f"output_dir={run_dir.path} holds {kind} run; {way_out}replace it with overwrite=true, or choose another folder"
        )


def check_not_over(run_dir: RunDir, overwrite: bool) -> None:
    """Refuse to resume a finished run that has no state to resume from, unless `overwrite` is set.

    Raises:
        UserError: the folder holds such a run; it is unchanged.
    """
    if _is_over(run_dir) and not overwrite:
        raise UserError(
            f"output_dir={run_dir.path} holds a finished run without the state to resume from; to train a run longer, it has to "
            "be trained with keep_resume_state=true; replace this one with overwrite=true"
        )


def _is_over(run_dir: RunDir) -> bool:
    return run_dir.is_finished and latest_checkpoint(run_dir) is None


def resume_of_restart(resume: str | None, run_dir: RunDir) -> str | None:
    """Return the `resume` of a run that Slurm or torchrun restarted: "auto", once it has checkpoints of its own.

    A run that began with `resume=<file>` must not return to that file. A folder without a checkpoint of this run, or with
    another run's, keeps `resume`.
    """
    if resume is None:
        return "auto"
    if latest_checkpoint(run_dir) is None or not run_dir.config.is_file():
        return resume
    return "auto" if OmegaConf.select(OmegaConf.load(run_dir.config), "resume") == resume else resume


def claim_output_dir(run_dir: RunDir, state: ResumeState | None) -> None:
    """Prepare the folder for a run that is about to start; call it after everything else is known to be valid.

    A fresh run deletes the files of the run that `check_output_dir` allowed to be overwritten. A run that resumes from
    another folder copies that run's checkpoint, best checkpoint and log. A run that resumes in its folder keeps its files.

    Raises:
        UserError: the checkpoint to resume from cannot be copied; the folder is unchanged.
    """
    if state is None:
        run_dir.clear()
    elif state.path.resolve() not in (run_dir.resume.resolve(), run_dir.previous.resolve()):
        source = RunDir(state.path.parent.parent)
        pairs = [(state.path, run_dir.resume), (source.best, run_dir.best), (source.log, run_dir.log)]
        run_dir.seeds.mkdir(parents=True, exist_ok=True)
        pairs += [(file, run_dir.seeds / file.name) for file in source.seeds.glob("round*.npy")]
        copies = {_copy(old, new): new for old, new in pairs if old.is_file()}
        run_dir.clear(keep=[*copies, state.path])
        for copy, new in copies.items():
            copy.replace(new)
        if not any(run_dir.seeds.iterdir()):
            run_dir.seeds.rmdir()
    elif state.path.resolve() == run_dir.previous.resolve() and run_dir.resume.is_file():
        # damaged; as the newest checkpoint it would replace the valid one at the next save
        run_dir.resume.replace(run_dir.checkpoints / "damaged.ckpt")
    for path in (run_dir.provenance, run_dir.metrics):  # these mark a finished run
        path.unlink(missing_ok=True)


def _copy(old: Path, new: Path) -> Path:
    copy = new.with_name(f".{new.name}.imported")  # a constant name: the next run overwrites what a killed one left
    try:
        with old.open("rb") as source, atomically(copy) as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise UserError(
            f"cannot copy {old} to {new} ({error.strerror}); the folder is unchanged: make room, then repeat the command"
        ) from error
    return copy
