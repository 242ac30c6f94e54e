"""Fair times: compared calls take turns in one run; memory is measured in a process of its own."""

import ctypes
import gc
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from spg_lightning.errors import UserError
from spg_lightning.module import SPGModule
from spg_lightning.utils.device import rounding_as_convolutions

log = logging.getLogger(__name__)

Call = Callable[[], object]
PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def seconds(call: Call, device: torch.device, times: int) -> float:
    """Return how long a call takes, the mean over `times` calls in a row; the host waits for the device around them only."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        for _ in range(times):
            call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000 / times
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def time_interleaved(
    calls: Mapping[str, Call], device: torch.device, warmup: int, repeats: int, times: int
) -> dict[str, list[float]]:
    """Time several calls in turns, so that load on the machine affects all of them alike.

    Args:
        calls: what to time, by name.
        device: where it runs.
        warmup: calls of each before, not timed.
        repeats: turns.
        times: calls in a row a turn.

    Returns:
        Seconds a call of each, one number a turn.
    """
    for call in calls.values():
        for _ in range(warmup):
            call()
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            took[name].append(seconds(call, device, times))
    return took


def first_calls(calls: Mapping[str, Call], device: torch.device) -> dict[str, float]:
    """Return how long the first call of each takes, which compiles; without those that the device's memory does not hold."""
    took: dict[str, float] = {}
    for name, call in calls.items():
        try:
            took[name] = seconds(call, device, 1)
        except torch.OutOfMemoryError:
            log.warning("%s: more than the device's memory holds; left out", name)
            torch.cuda.empty_cache()
    return took


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Return the context of a forward, as Lightning's `precision` has it.

    Raises:
        UserError: neither 32-true nor bf16-mixed.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision}: choose from {', '.join(PRECISIONS)}")
    if precision == "32-true":
        return nullcontext()
    return torch.autocast(device.type, PRECISIONS[precision], cache_enabled=False)


def photos(batch: int, size: int, num_classes: int, device: torch.device) -> tuple[Int[Tensor, "B 3 Y X"], Tensor]:
    """Return uint8 noise and labels, always the same."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, 3, size, size), generator=draw, dtype=torch.uint8)
    return images.to(device), torch.randint(num_classes, (batch,), generator=draw).to(device)


def training(module: SPGModule, precision: str, images: Tensor, labels: Tensor) -> Call:
    """Return a call that makes one training step: normalise, forward, loss, backward, update. Nothing is logged."""
    module.train()
    optimizer = module.optimizer(module.network)

    def step() -> Tensor:
        if not module.training:  # the calls that take turns share a module; Lightning switches once an epoch
            module.train()
        with autocast(precision, images.device):
            loss = module.step(module.network, module.loss, module._inputs(images), labels)["total"]
        optimizer.zero_grad()  # after the forward, as Lightning does
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def evaluation(module: SPGModule, precision: str, images: Tensor, labels: Tensor) -> Call:
    """Return a call that evaluates a batch: forward, all score maps that come with it, localization at all thresholds."""
    side = images.shape[-1]
    boxes = [np.array([[side // 4, side // 4, 3 * side // 4, 3 * side // 4]])] * len(images)

    def evaluate() -> None:
        if module.training:
            module.eval()
        with (
            torch.inference_mode(),
            autocast(precision, images.device),
            module.localizer.context(images) as seen,
        ):
            right = seen.output.logits.argmax(1) == labels
            for name, meter in module.metrics.items():
                meter.update(seen.map(name, labels)[:, 0], boxes, right, right)  # type: ignore[operator]

    return evaluate


def matmul_rate(device: torch.device, dtype: torch.dtype, repeats: int = 9) -> float:
    """Return the floating point operations a second of a large matrix product, the median of several.

    On a GPU of two square matrices; in float32 their factors are rounded as those of convolutions are. On a CPU of these or of
    a 3 x 3 convolution, which is a matrix product too, whichever is faster: convolutions come from another library, which
    reaches twice the rate on some processors. A GPU is given half a second to leave its resting clock.
    """
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    products = {"product": (lambda: a @ b, 2 * side**3)}
    if device.type == "cpu":
        batch, channels, cells = 8, 512, 28  # as in the branches of SPG's networks
        inputs, weight = (
            torch.randn(shape).to(dtype, memory_format=torch.channels_last)
            for shape in ((batch, channels, cells, cells), (channels, channels, 3, 3))
        )
        convolution = partial(nn.functional.conv2d, inputs, weight, padding=1)
        products["convolution"] = (convolution, 2 * batch * cells**2 * channels**2 * 9)
    warmup, times = (2, 1) if device.type == "cpu" else (int(0.5 / seconds(products["product"][0], device, 20)), 20)
    with rounding_as_convolutions() if device.type == "cuda" else nullcontext():
        calls = {name: call for name, (call, _) in products.items()}
        took = time_interleaved(calls, device, warmup, repeats, times)
    return max(operations / median(took[name]) for name, (_, operations) in products.items())


def peak_memory(call: Call, device: torch.device) -> float | None:
    """Return the bytes that a call needs at its peak beyond what is held before it: weights, gradients, optimizer.

    Of a GPU as torch counts them. Of main memory the process's resident set, which is right only in a process that has done
    nothing else; None where the system does not tell.
    """
    call()  # what stays: momentum, gradients, workspaces of libraries, compiled code
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before)
    if not sys.platform.startswith("linux") or not CLEAR.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # give back what was freed, so that it is not counted as held
    CLEAR.write_text("5")  # the kernel's high-water mark begins anew
    before = _kilobytes("VmRSS")
    call()
    return 1024.0 * (_kilobytes("VmHWM") - before)


def _kilobytes(field: str) -> int:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))


def run_in_subprocess(function: Callable[..., float | None], *arguments: object) -> float | None:
    """Return what a function gives in a new process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
