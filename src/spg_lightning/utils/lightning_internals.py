"""Adapter to the private parts of Lightning that exact resumption needs.

`tests/utils/test_lightning_internals.py` checks each of them and names the one that a new version of Lightning changed.
"""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from pytorch_lightning.trainer.connectors.signal_connector import _get_sigkill_signal


def dump_checkpoint(trainer: pl.Trainer) -> dict[str, Any]:
    """Return the full checkpoint of a trainer without writing it."""
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)


def disable_sigterm_broadcast(trainer: pl.Trainer) -> None:
    """Stop Lightning's per-step broadcast of SIGTERM over the device. `ResumableCheckpoint` synchronizes over the host."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def kill_launched_processes(trainer: pl.Trainer) -> None:
    """Kill the processes that Lightning's script launcher started, and forget them.

    Lightning's watchdog would otherwise end this process before it reports its error.
    """
    launcher: Any = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(_get_sigkill_signal())
        launcher.procs.clear()


def batches_done(trainer: pl.Trainer) -> int:
    """Return the number of completed batches of the current epoch."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.completed


def normalize_loop_state(trainer: pl.Trainer, state: dict[str, Any], between_epochs: bool) -> dict[str, Any]:
    """Return the state of the fit loop as it stands between two batches, or between two epochs.

    At the start of a batch some counters include it and others do not. Lightning infers its position from the differences,
    and loses a validation or a step. Equal counters leave nothing to infer.

    Args:
        trainer: in training, at the start of a batch or after the last step.
        state: of its fit loop.
        between_epochs: whether the epoch is complete. Otherwise it continues at `batches_done`.
    """
    epochs, batches = state["epoch_progress"], state["epoch_loop.batch_progress"]
    for count in (epochs["total"], epochs["current"]):
        if between_epochs:
            count.update(ready=count["processed"], started=count["processed"], completed=count["processed"])
        else:  # a limit of steps ends an epoch midway, and Lightning then counts it as complete
            count.update(processed=count["ready"] - 1, completed=count["ready"] - 1)
    for count in (batches["total"], batches["current"]):
        count.update(ready=count["completed"], started=count["completed"], processed=count["completed"])
    batches["is_last_batch"] = False
    if between_epochs:
        batches["current"] = dict.fromkeys(batches["current"], 0)
    return state


def restart_skips_validation(trainer: pl.Trainer, batch: int, between_epochs: bool) -> bool:
    """Tell whether Lightning, restarted from a normalized state, runs one iteration without a batch.

    It does where a validation is due after `batch` batches, skips that validation, and counts the iteration as a step.
    """
    if between_epochs:
        return trainer.max_steps != -1  # without a limit of steps Lightning does not count as restarted
    if not trainer.fit_loop.epoch_loop._should_check_val_epoch():
        return False
    every = trainer.val_check_batch
    if every is None or every == float("inf"):
        return False
    done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    return (done if trainer.check_val_every_n_epoch is None else batch) % every == 0
