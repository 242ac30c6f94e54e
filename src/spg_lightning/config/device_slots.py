"""Slots for jobs on the devices of this machine: GPUs, MIG slices, or shares of the CPU. Imports no torch."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from spg_lightning.errors import UserError

CPU_SHARE = "cpu:"  # begins the name of a device that is a share of the CPU


@dataclass(frozen=True)
class Slot:
    """Room for one job.

    Attributes:
        devices: GPU ids as CUDA_VISIBLE_DEVICES takes them, or names of CPU shares.
        cores: numbers of the CPU's cores.
    """

    devices: tuple[str, ...]
    cores: tuple[int, ...]

    def __str__(self) -> str:
        gpus = self._gpus()
        if not gpus:
            return f"CPU cores {','.join(map(str, self.cores))}"
        return f"GPU {','.join(gpus)}" if all(gpu.isdecimal() for gpu in gpus) else ",".join(gpus)

    def occupy(self) -> None:
        """Restrict this process, and those it starts, to the devices and cores. OMP_NUM_THREADS stays if it is set."""
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus())
        os.environ.setdefault("OMP_NUM_THREADS", str(max(len(self.cores) // len(self.devices), 1)))
        if sys.platform == "linux":
            os.sched_setaffinity(0, self.cores)

    def _gpus(self) -> list[str]:
        return [device for device in self.devices if not device.startswith(CPU_SHARE)]


def slots_of(devices: Sequence[str], devices_per_job: int, jobs_per_device: int, cores: Sequence[int]) -> list[Slot]:
    """Group devices by jobs, and divide the cores among the slots. Devices that do not fill a group stay idle.

    Args:
        devices: to share out.
        devices_per_job: size of a group.
        jobs_per_device: number of slots of each group.
        cores: to divide; slots share them where there are fewer cores than slots.

    Raises:
        UserError: there are too few devices for one job, or a number is not positive.
    """
    if devices_per_job < 1 or jobs_per_device < 1:
        raise UserError("launcher=devices: devices_per_job and jobs_per_device are at least 1")
    if len(devices) < devices_per_job:
        raise UserError(
            f"launcher=devices: a job needs {devices_per_job} devices, and there are {len(devices)} ({', '.join(devices)}); "
            "on the CPU, hydra.launcher.devices=<n> makes n shares of it"
        )
    ends = range(devices_per_job, len(devices) + 1, devices_per_job)
    groups = [tuple(devices[end - devices_per_job : end]) for end in ends for _ in range(jobs_per_device)]
    bounds = [k * len(cores) // len(groups) for k in range(len(groups) + 1)]
    return [
        Slot(group, tuple(cores[begin : max(end, begin + 1)]))
        for group, (begin, end) in zip(groups, pairwise(bounds), strict=True)
    ]


def devices_of(asked: str | int | Sequence[str | int], on_cpu: bool) -> list[str]:
    """Return the names of the devices that a launcher may use.

    Args:
        asked: a list of GPU ids; a number of GPUs or CPU shares; or "auto": all GPUs, or the whole CPU as one device.
        on_cpu: whether the jobs use the CPU even where there are GPUs.

    Raises:
        UserError: there are fewer GPUs, or the value is none of these.
    """
    if not isinstance(asked, str | int):
        devices = [str(device) for device in asked]
        if len(set(devices)) < len(devices):
            raise UserError(
                f"hydra.launcher.devices={devices} names one twice; jobs_per_device sets how many jobs share it"
            )
        return devices
    gpus = [] if on_cpu else visible_gpus()
    if asked == "auto":
        return gpus or [f"{CPU_SHARE}0"]
    if not isinstance(asked, int) or asked < 1:
        raise UserError(f"hydra.launcher.devices={asked}: choose auto, a number, or a list of GPU ids")
    if gpus and asked > len(gpus):
        raise UserError(f"hydra.launcher.devices={asked}: there are {len(gpus)} GPUs")
    return gpus[:asked] or [f"{CPU_SHARE}{k}" for k in range(asked)]


def visible_gpus() -> list[str]:
    """Return the ids of the GPUs that CUDA_VISIBLE_DEVICES names, or else of all that torch sees."""
    if (ids := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return list(takewhile(lambda word: word not in ("", "-1"), (word.strip() for word in ids.split(","))))
    # in another process: this one stays small, and forks
    code = "import torch; print(torch.cuda.device_count())"
    count = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [str(k) for k in range(int(count))]


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))
