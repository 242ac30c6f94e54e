"""What a step costs and what the machine gives: floating point operations, memory."""

import copy
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.utilities.throughput import get_available_flops
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from spg_lightning.errors import UserError
from spg_lightning.module import SPGModule

H100_16_BIT = 989.4e12  # operations a second, dense, SXM; NVIDIA's data sheet


def step_flops(module: SPGModule, batch: int, size: int) -> int:
    """Return the floating point operations of one training step, forward and backward, a multiply-add counted as two.

    Counted are convolutions and matrix products, on a copy of the network without storage, so that nothing is computed.

    Args:
        module: with its network, step and loss; frozen parts have no backward.
        batch: images.
        size: their side in pixels.
    """
    network = copy.deepcopy(module.network).to("meta")
    network.train(module.network.training)
    for layer in network.modules():
        if isinstance(layer, nn.SyncBatchNorm):  # it would talk to the other processes; batch norm is not counted
            layer.eval()
    images = torch.empty(batch, 3, size, size, device="meta")
    labels = torch.zeros(batch, dtype=torch.long, device="meta")
    counting = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_flops})
    with torch.enable_grad(), counting as counter:
        module.step(network, module.loss, images, labels)["total"].backward()  # type: ignore[no-untyped-call]
    return counter.get_total_flops()


def _backward_flops(
    grad_out: list[int], x: list[int], w: list[int], bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, wanted: list[bool], out_shape: Any = None,
) -> int:  # fmt: skip
    """Return a convolution's backward: one forward each for the gradients by input and by weights.

    torch's own count takes depthwise convolutions for dense ones.
    """
    return int(conv_flop_count(x, w, grad_out, transposed) * (wanted[0] + wanted[1]))


def device_of(accelerator: str) -> torch.device:
    """Return the device: auto takes a GPU where there is one.

    Raises:
        UserError: no such device here.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise UserError(f"accelerator={accelerator}: choose auto, cpu or gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("accelerator=gpu: torch sees no GPU here; choose cpu or auto")
    return torch.device("cpu" if accelerator == "cpu" or not torch.cuda.is_available() else "cuda:0")


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the floating point operations a second that the maker states for an accelerator; None where none is known.

    In float32 those of TF32 where the GPU has it: cuDNN's convolutions compute in it. Known are the GPUs for which Lightning's
    table has dense products; it takes others for a neighbour (an A4000 for an A40, an L40 for an L4), or has sparse ones.
    """
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).lower()
    kind = torch.bfloat16 if "bf16" in precision else torch.float16 if "16" in precision else torch.float32
    if (
        re.search(r"\bh200\b", name) and "nvl" not in name
    ):  # Lightning's table has sparse products; the chip is an H100's
        return H100_16_BIT if kind != torch.float32 else H100_16_BIT / 2
    if not re.search(r"\b(a100|h100|v100|l4|t4)\b", name) or "nvl" in name:
        return None
    with rounding_as_convolutions():
        return get_available_flops(device, kind)


def has_native_bf16(device: torch.device) -> bool:
    """Tell whether a device has instructions for products in bfloat16; without them they take longer than in float32.

    Of CPUs these are AVX512-bf16 and AMX (x86) and the bf16 extension (ARM).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@contextmanager
def rounding_as_convolutions() -> Iterator[None]:
    """Let a GPU's float32 matrix products round their factors to TF32 where its convolutions do, which is cuDNN's default."""
    before = torch.get_float32_matmul_precision()
    if torch.backends.cudnn.allow_tf32:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def peak_memory_gb(device: torch.device) -> float:
    """Return the most that was ever held, in 1e9 bytes: of a GPU by torch, else of main memory by the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
