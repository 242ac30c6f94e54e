"""Lightning's counters, as they stand between two batches.

A checkpoint is written at the start of a batch, when some counters have counted it and others have not; Lightning guesses
from the differences where it was, and its guesses lose a validation or a step. At rest there is nothing to guess.
"""

from typing import Any

import pytorch_lightning as pl


def batches_done(trainer: pl.Trainer) -> int:
    """Return how many batches of the epoch have been trained with."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.completed


def normalize_loop_state(trainer: pl.Trainer, state: dict[str, Any], between_epochs: bool) -> dict[str, Any]:
    """Return the state of the fit loop as it is between two batches, or between two epochs.

    Args:
        trainer: in training; at the start of a batch, or after the last step.
        state: of its fit loop.
        between_epochs: the epoch is over; else it goes on where `batches_done` ends.
    """
    epochs, batches = state["epoch_progress"], state["epoch_loop.batch_progress"]
    for count in (epochs["total"], epochs["current"]):
        if between_epochs:
            count.update(ready=count["processed"], started=count["processed"], completed=count["processed"])
        else:  # begun, not done; a limit of steps ends an epoch in the middle, which then counts as done
            count.update(processed=count["ready"] - 1, completed=count["ready"] - 1)
    for count in (batches["total"], batches["current"]):
        count.update(ready=count["completed"], started=count["completed"], processed=count["completed"])
    batches["is_last_batch"] = False
    if between_epochs:
        batches["current"] = dict.fromkeys(batches["current"], 0)
    return state


def restart_skips_validation(trainer: pl.Trainer, batch: int, between_epochs: bool) -> bool:
    """Tell whether Lightning, going on from rest, takes a turn without a batch, in which it skips a validation.

    It does where a validation is due after `batch` batches, which is where it has just been. The turn counts as a step.
    """
    if between_epochs:
        return trainer.max_steps != -1  # else it does not count as restarted
    if not trainer.fit_loop.epoch_loop._should_check_val_epoch():
        return False
    every = trainer.val_check_batch
    if every is None or every == float("inf"):
        return False
    done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    return (done if trainer.check_val_every_n_epoch is None else batch) % every == 0
