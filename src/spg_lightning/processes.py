"""Which of several processes this one is; what a process does when a run fails in one of them. Light to import."""

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytorch_lightning as pl

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # in the order in which Lightning looks
PATIENCE = 3.0  # seconds; Lightning's main process looks after its children every 5


def rank() -> int:
    """Return this process's number, 0 where it is the only one.

    The first process of a further machine, started by hand for Lightning's own launcher, knows the machine's number alone.
    """
    return next((int(os.environ[name]) for name in (*RANK_VARIABLES, "NODE_RANK") if name in os.environ), 0)


def is_main() -> bool:
    """Tell whether this is the process that writes files and talks."""
    return rank() == 0


def started_by_torchrun() -> int:
    """Return how many processes torchrun started, 0 where it did not start this one."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def let_the_cause_speak(mendable: bool) -> None:
    """Wait before telling of an error that another process probably has, too, or has caused.

    Most mistakes are met by all processes: the first one tells, and meanwhile ends the others. A mistake that one process
    alone meets (a broken photo in its share) takes the connection away from the others, whose complaints explain nothing.

    Args:
        mendable: the error is one that the user can mend, and no lost connection.
    """
    several = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1 or "LOCAL_RANK" in os.environ
    if several and not (is_main() and mendable):
        time.sleep(PATIENCE if mendable else 3 * PATIENCE)


def end_other_processes(trainer: "pl.Trainer") -> None:
    """End the processes that Lightning started for a trainer: left alone they would wait for this one until a timeout."""
    from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
    from pytorch_lightning.trainer.connectors.signal_connector import _get_sigkill_signal

    launcher: Any = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(_get_sigkill_signal())
        launcher.procs.clear()  # or Lightning's watch over them would end this process, too, before it has told why
