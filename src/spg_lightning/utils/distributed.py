"""The rank of this process, and how a run that fails in one process ends in all. Imports no torch."""

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytorch_lightning as pl

ERROR_DELAY_S = 3.0  # Lightning's main process polls its children every 5 s


def is_global_zero() -> bool:
    """Tell whether this process writes files and prints.

    torchrun sets RANK. Lightning's launcher sets LOCAL_RANK, beside NODE_RANK where the user starts each machine. Processes
    that Lightning starts inside a Slurm job inherit SLURM_PROCID, so the launchers' variables come first.
    """
    for names in (("RANK",), ("LOCAL_RANK", "NODE_RANK"), ("SLURM_PROCID",)):
        ranks = [int(os.environ[name]) for name in names if name in os.environ]
        if any(ranks):
            return False
        if ranks and names == ("RANK",):
            return True
    return True


def is_restart() -> bool:
    """Tell whether torchrun or Slurm restarted this run after a preemption or a dead process."""
    return any(int(os.environ.get(name) or 0) > 0 for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))


def torchrun_world_size() -> int:
    """Return the number of processes that torchrun started, 0 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def delay_secondary_error(is_user_error: bool) -> None:
    """Delay this process's error message so that the originating rank reports first.

    Most user errors occur in all processes: rank 0 reports and ends the others meanwhile. An error in one process, such as
    a corrupt image in its shard, breaks the connection of the others, whose messages explain nothing.

    Args:
        is_user_error: whether the user can fix the error; a lost connection is none.
    """
    several = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1 or "LOCAL_RANK" in os.environ
    if several and not (is_global_zero() and is_user_error):
        time.sleep(ERROR_DELAY_S if is_user_error else 3 * ERROR_DELAY_S)


def kill_other_processes(trainer: "pl.Trainer") -> None:
    """Kill the processes that Lightning launched for a trainer. They would wait for this one until a timeout."""
    from spg_lightning.utils.lightning_internals import kill_launched_processes

    kill_launched_processes(trainer)
