"""The random number generators of a process, as plain data that a checkpoint can hold."""

import random
from typing import Any

import numpy as np
import torch


def noise_state(device: torch.device) -> dict[str, Any]:
    """Return the state of Python's, NumPy's and torch's generators, of the GPU's, too, where the process has one."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": {"name": name, "keys": keys.tolist(), "rest": [int(position), int(has_gauss), float(cached)]},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_noise(state: dict[str, Any], device: torch.device) -> None:
    """Go on with the random numbers where `noise_state` was called."""
    kind, keys, gauss = state["python"]
    random.setstate((kind, tuple(keys), gauss))
    numpy = state["numpy"]
    np.random.set_state((numpy["name"], np.asarray(numpy["keys"], np.uint32), *numpy["rest"]))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
