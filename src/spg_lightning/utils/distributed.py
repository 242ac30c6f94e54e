"""Which of several processes this one is; what a process does when a run fails in one of them. Light to import."""

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytorch_lightning as pl

ERROR_DELAY_S = 3.0  # seconds; Lightning's main process looks after its children every 5


def is_global_zero() -> bool:
    """Tell whether this is the process that writes files and talks.

    torchrun tells RANK. Lightning's own launcher tells LOCAL_RANK, where several machines' were started by hand beside their
    NODE_RANK, and the first process of each machine learns it only in `fit`; a process that it started inside a Slurm job has
    the job's SLURM_PROCID, too, as has each process that srun started.
    """
    for names in (("RANK",), ("LOCAL_RANK", "NODE_RANK"), ("SLURM_PROCID",)):
        told = [int(os.environ[name]) for name in names if name in os.environ]
        if any(told):
            return False
        if told and names == ("RANK",):
            return True
    return True


def is_restart() -> bool:
    """Tell whether torchrun or Slurm has started this run before: it was preempted, or a process of it died."""
    return any(int(os.environ.get(name) or 0) > 0 for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))


def torchrun_world_size() -> int:
    """Return how many processes torchrun started, 0 where it did not start this one."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def delay_secondary_error(mendable: bool) -> None:
    """Wait before telling of an error that another process probably has, too, or has caused.

    Most mistakes are met by all processes: the first one tells, and meanwhile ends the others. A mistake that one process
    alone meets (a broken photo in its share) takes the connection away from the others, whose complaints explain nothing.

    Args:
        mendable: the error is one that the user can mend, and no lost connection.
    """
    several = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1 or "LOCAL_RANK" in os.environ
    if several and not (is_global_zero() and mendable):
        time.sleep(ERROR_DELAY_S if mendable else 3 * ERROR_DELAY_S)


def kill_other_processes(trainer: "pl.Trainer") -> None:
    """End the processes that Lightning started for a trainer: left alone they would wait for this one until a timeout."""
    from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
    from pytorch_lightning.trainer.connectors.signal_connector import _get_sigkill_signal

    launcher: Any = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(_get_sigkill_signal())
        launcher.procs.clear()  # or Lightning's watch over them would end this process, too, before it has told why
