"""The study of a search: Optuna's trials in one file of the sweep's folder, which the sweep and its jobs write."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spg_lightning.errors import UserError
from spg_lightning.utils.instantiate import instantiate_node

if TYPE_CHECKING:
    import optuna

FILE_NAME, STUDY_NAME = "study.log", "spg_lightning"
LINE_BEGINS = b'{"op_code":'
PRUNER = "pruner"  # attribute of the study: the config node of its pruner
VARIABLE = "SPG_LIGHTNING_TRIAL"  # of a job's environment: <number>:<folder>


class TrialId(NamedTuple):
    """The number of a trial, and the sweep's folder, which holds the study."""

    number: int
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What tells it to the process of a job."""
        return {VARIABLE: f"{self.number}:{self.folder.absolute()}"}


def trial_of_this_process() -> TrialId | None:
    """Return the trial that this process was started for, if it was."""
    if VARIABLE not in os.environ:
        return None
    number, _, folder = os.environ[VARIABLE].partition(":")
    return TrialId(int(number), Path(folder))


def open_study(folder: Path, direction: str, pruner: Any) -> "optuna.Study":
    """Open the study of a sweep's folder, or begin one. No job may be running.

    Args:
        folder: of the sweep.
        direction: "minimize" or "maximize".
        pruner: config node of the pruner.

    Raises:
        UserError: the study has the other direction, or its file is damaged.
    """
    import optuna

    path = folder / FILE_NAME
    _clean_up(path)
    try:
        study = optuna.create_study(
            storage=_storage(folder),
            study_name=STUDY_NAME,
            direction=optuna.study.StudyDirection[direction.upper()],
            load_if_exists=True,
        )
    except (ValueError, KeyError, TypeError, AssertionError) as error:  # of JSON, and of a row that is none of Optuna's
        raise UserError(f"{path} is damaged ({error}); choose another output_dir") from error
    if (known := study.direction.name.lower()) != direction:
        raise UserError(f"{path} is of a search with hydra.sweeper.direction={known}; choose another output_dir")
    if study.user_attrs.get(PRUNER) != pruner:
        study.set_user_attr(PRUNER, pruner)
    study.pruner = instantiate_node(pruner)
    return study


def open_trial(trial: TrialId) -> "optuna.trial.Trial":
    """Return Optuna's trial, to report values and to ask whether it is hopeless."""
    import optuna

    storage = _storage(trial.folder)
    study = optuna.load_study(storage=storage, study_name=STUDY_NAME)
    study.pruner = instantiate_node(study.user_attrs[PRUNER])
    study_id = storage.get_study_id_from_name(STUDY_NAME)
    return optuna.trial.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, trial.number))


def _storage(folder: Path) -> "optuna.storages.JournalStorage":
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it has a line for each trial, as the sweep does
    return optuna.storages.JournalStorage(JournalFileBackend(str(folder.absolute() / FILE_NAME)))


def _clean_up(path: Path) -> None:
    """Remove what a killed process or a full disk left: Optuna would continue half a line, and wait for the lock.

    Raises:
        UserError: the file is another program's.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    text = path.read_bytes() if path.exists() else b""
    if not text.startswith(LINE_BEGINS[: len(text)]):
        raise UserError(f"{path} is no study of Optuna; move it away, or choose another output_dir")
    if text and not text.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(text.rfind(b"\n") + 1)
