"""Hydra launcher `devices`. Hydra accepts plugins of this namespace package alone, and imports them in every Hydra program."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class DevicesLauncher(Launcher):
    """Runs a sweep's jobs at once on the devices of this machine; see `spg_lightning.config.devices_launcher`.

    Args:
        devices: "auto", a number, or GPU ids.
        jobs_per_device: number of jobs that share a device.
        devices_per_job: number of devices of a job.
    """

    def __init__(self, devices: Any, jobs_per_device: int, devices_per_job: Any) -> None:
        self.devices, self.jobs_per_device, self.devices_per_job = devices, jobs_per_device, devices_per_job

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what the jobs need. Hydra calls this."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return their results in order. Hydra calls this.

        Raises:
            UserError: the settings do not fit this machine.
        """
        from spg_lightning.config.devices_launcher import find_slots, launch

        accelerator = str(self.config.trainer.accelerator)
        slots = find_slots(self.devices, self.jobs_per_device, self.devices_per_job, accelerator)
        return launch(self.hydra_context, self.task_function, self.config, slots, job_overrides, initial_job_idx)
