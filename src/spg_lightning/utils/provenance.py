"""Provenance of a result: commit, versions, device, seed, command, wall time."""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from spg_lightning.utils.atomic import atomically

PACKAGES = (
    "spg-lightning", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf",
    "albumentations", "opencv-python-headless", "numpy", "numba", "timm",
)  # fmt: skip


def provenance(seed: int | None, started: datetime, device: torch.device | None = None, **more: Any) -> dict[str, Any]:
    """Return the provenance as plain data.

    Args:
        seed: of the run, None without one.
        started: start of the run in UTC, for the wall time.
        device: of the computation; None for the CPU.
        more: further entries.
    """
    return {
        "commit": _commit(),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device)
        if device is not None and device.type == "cuda"
        else f"{device.type if device else 'cpu'}, {torch.get_num_threads()} threads",
        "seed": seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": started.isoformat(timespec="seconds"),
        "wall_seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        **more,
    }


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON, atomically."""
    with atomically(path, "w") as file:
        file.write(json.dumps(data, indent=2) + "\n")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the checkout's commit, with -dirty if files were changed; None for an installed package."""
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__], cwd=folder, capture_output=True, check=False
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip() if tracked.returncode == 0 else None
