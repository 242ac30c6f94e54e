"""Run a sweep's jobs at once on the devices of this machine, each job on its own. Hydra's class is in `hydra_plugins`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from rich.console import Console

from spg_lightning.config.device_slots import Slot, devices_of, slots_of, usable_cores
from spg_lightning.config.job_records import Job, JobRecords, job_name
from spg_lightning.config.slot_processes import SlotJob, run_in_slots
from spg_lightning.config.sweep_job import STOP_TIMEOUT_S
from spg_lightning.config.sweep_monitor import SweepMonitor
from spg_lightning.errors import UserError

STOP_MARGIN_S = 5.0  # for a process to end after its job


def find_slots(devices: Any, jobs_per_device: int, devices_per_job: Any, accelerator: str) -> list[Slot]:
    """Return the slots of this machine.

    Args:
        devices: see `devices_of`.
        jobs_per_device: see `slots_of`.
        devices_per_job: see `slots_of`.
        accelerator: of the trainer.

    Raises:
        UserError: the settings do not fit this machine.
    """
    if not isinstance(devices_per_job, int):
        raise UserError(
            f"launcher=devices: a job needs a number of devices, as in trainer.devices=2, not {devices_per_job}"
        )
    return slots_of(devices_of(devices, accelerator == "cpu"), devices_per_job, jobs_per_device, usable_cores())


def launch(
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    slots: Sequence[Slot],
    job_overrides: Sequence[Sequence[str]],
    first_number: int,
) -> list[JobReturn]:
    """Run jobs in slots and return their results in order. A job whose process died has no result, as a failed one.

    Args:
        hydra_context: of the sweep.
        task_function: of a job.
        config: of the sweep.
        slots: see `find_slots`.
        job_overrides: of each job.
        first_number: of the first job.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    jobs = (
        _compose_job(hydra_context, task_function, config, number, overrides)
        for number, overrides in enumerate(job_overrides, start=first_number)
    )
    monitor = SweepMonitor(len(job_overrides), Console(stderr=True))
    with monitor.shown():
        results = run_in_slots(jobs, slots, monitor, STOP_TIMEOUT_S + STOP_MARGIN_S)
    return [JobReturn(status=JobStatus.COMPLETED) if result is None else result for result in results]


def _compose_job(
    hydra_context: HydraContext,
    task_function: TaskFunction,
    sweep_config: DictConfig,
    number: int,
    overrides: Sequence[str],
) -> SlotJob:
    config = hydra_context.config_loader.load_sweep_config(sweep_config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
    sweep_dir = Path(str(config.hydra.sweep.dir))
    folder = sweep_dir / str(config.hydra.sweep.subdir)
    name = job_name(folder, sweep_dir)
    records = JobRecords.of_sweep(sweep_dir)
    run = partial(
        run_job, hydra_context=hydra_context, task_function=task_function, config=config,
        job_dir_key="hydra.sweep.dir", job_subdir_key="hydra.sweep.subdir",
    )  # fmt: skip
    return SlotJob(name, folder, records.log(number), run, partial(_conclude, records, number, name, folder))


def _conclude(records: JobRecords, number: int, name: str, folder: Path, exit_code: int) -> str:
    """Return the outcome of a job. If its process died before it wrote a record, write one."""
    job = records.read(number)
    if job is None:
        error = f"killed by {Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
        job = Job(number, name, str(folder), "failed", None, error)
        records.write(job)
    return job.outcome
