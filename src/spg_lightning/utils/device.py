"""The device: its choice, precision, peak rate and memory."""

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric.utilities.throughput import get_available_flops

from spg_lightning.errors import UserError

H100_16_BIT = 989.4e12  # operations a second, dense, SXM; NVIDIA's data sheet


def device_of(accelerator: str) -> torch.device:
    """Return the device of an `accelerator` setting: "auto" takes a GPU if there is one.

    Raises:
        UserError: this machine has no such device.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise UserError(f"accelerator={accelerator}: choose auto, cpu or gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu: torch sees no GPU here; choose cpu or auto")
    return torch.device("cpu" if accelerator == "cpu" or not torch.cuda.is_available() else "cuda:0")


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in float32, or convolutions and matrix products in bfloat16.

    Raises:
        UserError: an unknown precision.
    """
    if precision not in ("float32", "bfloat16"):
        raise UserError(f"precision={precision}: choose float32 or bfloat16")
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the peak floating point operations per second in the GPU's data sheet, None if unknown.

    In float32, that of TF32 if the GPU has it: cuDNN's convolutions compute in it. Only GPUs for which Lightning's table has
    dense rates are known; it mistakes others for a neighbour (an A4000 for an A40, an L40 for an L4), or has sparse rates.
    """
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).lower()
    kind = torch.bfloat16 if "bf16" in precision else torch.float16 if "16" in precision else torch.float32
    if re.search(r"\bh200\b", name) and "nvl" not in name:  # an H100's chip; Lightning's table has sparse rates
        return H100_16_BIT if kind != torch.float32 else H100_16_BIT / 2
    if not re.search(r"\b(a100|h100|v100|l4|t4)\b", name) or "nvl" in name:
        return None
    with rounding_as_convolutions():
        return get_available_flops(device, kind)


def has_native_bf16(device: torch.device) -> bool:
    """Return whether a device has bfloat16 instructions: AVX512-bf16 or AMX (x86), the bf16 extension (ARM), most GPUs.

    Without them, bfloat16 is slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@contextmanager
def rounding_as_convolutions() -> Iterator[None]:
    """Round the factors of float32 matrix products to TF32 if convolutions do, as is cuDNN's default."""
    previous = torch.get_float32_matmul_precision()
    if torch.backends.cudnn.allow_tf32:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(previous)


def peak_memory_gb(device: torch.device) -> float:
    """Return the peak memory in GB (1e9 bytes): torch's on a GPU, else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
