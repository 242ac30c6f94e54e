"""Time ours beside the plain step, in turns and in one run; and how much memory each takes.

    python experiments/speed/measure.py --output experiments/speed                       (Inception-v3, batch 8, 224)
    python experiments/speed/measure.py --output runs/speed --batch 64 128 --compile --steps 10 --repeats 9     (a GPU)

Writes table.md, results.csv and facts.json. Times as `benchmark.py` does.
"""

import argparse
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from benchmark import Benchmark, Case, Row, add_compile, compile_modes, facts_of, module_of, show, summary, write
from plain_step import PlainStep
from step_timing import (
    PRECISIONS,
    first_calls,
    matmul_rate,
    peak_memory,
    photos,
    run_in_subprocess,
    time_interleaved,
    training,
)

from spg_lightning.callbacks.throughput import step_flops
from spg_lightning.utils.device import device_of

PLAIN = "plain, 32-true"
PLAIN_EXACT = "plain, 32-true without TF32"  # on a GPU, whose convolutions round float32 to TF32 by themselves


def plain(case, device):
    """Return a call of the plain step with the weights of a case."""
    module = module_of(case).to(device)
    pairs = module.loss.thresholds
    thresholds = {name: tuple(getattr(pairs, name)) for name in ("b2", "b1", "c")}
    step = PlainStep(module.network, module.optimizer, thresholds)
    images, labels = photos(case.batch, case.size, case.num_classes, device)
    return lambda: step(module.network.stem.normalize(images), labels)


def call_of(name, case, device):
    """Return what is timed."""
    if name == PLAIN:  # as torch is set up: cuDNN does not try its algorithms
        return with_cudnn(plain(case, device), benchmark=False)
    if name == PLAIN_EXACT:
        return with_cudnn(plain(case, device), benchmark=False, allow_tf32=False)
    return training(
        module_of(case).to(device), case.precision, *photos(case.batch, case.size, case.num_classes, device)
    )


def with_cudnn(call, **flags):
    """Return a call with switches of cuDNN of its own."""
    cudnn = torch.backends.cudnn

    def switched():
        before = {name: getattr(cudnn, name) for name in flags}
        try:
            for name, value in flags.items():
                setattr(cudnn, name, value)
            return call()
        finally:
            for name, value in before.items():
                setattr(cudnn, name, value)

    return switched


def memory_alone(name, case):
    """Return the bytes of a step on the CPU; in a process of its own."""
    torch.set_num_threads(2)
    return peak_memory(call_of(name, case, torch.device("cpu")), torch.device("cpu"))


def measure(args, batch, device, rates):
    """Return the rows of one batch size."""
    base = Case(args.stem, batch, "32-true", False, 224, args.classes, tuple(args.overrides))
    cases = {PLAIN: base} | ({PLAIN_EXACT: base} if device.type == "cuda" else {})
    for precision in args.precision:
        for compiled in compile_modes(args.compile):
            case = replace(base, precision=precision, compile=compiled)
            cases[case.name] = case
        if args.contiguous:
            overrides = (*base.overrides, "module.channels_last=false")
            cases[f"{precision}, contiguous"] = replace(base, precision=precision, overrides=overrides)
    calls = {name: call_of(name, case, device) for name, case in cases.items()}
    first = first_calls(calls, device)
    calls = {name: calls[name] for name in first}
    took = time_interleaved(calls, device, args.warmup, args.repeats, args.steps)
    held = {}
    if device.type == "cuda":
        held = {name: peak_memory(call, device) for name, call in calls.items()}
    del calls
    flops = step_flops(module_of(base), batch, 224)
    for name in first:
        case = cases[name]
        memory = held.get(name) or run_in_subprocess(memory_alone, name, case)
        of = summary(took[name], took[next(iter(first))], batch)
        yield Row(
            "train", case.stem, batch, case.precision if name == case.name else name, case.compile, args.repeats, **of,
            first_s=first[name], memory_mb=None if memory is None else memory / 1e6 / batch, gflops=flops / 1e9 / batch,
            matmul_share=flops / of["median_s"] / rates[case.precision],
        )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--stem", default="inception_v3")
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--precision", nargs="+", default=[*PRECISIONS], choices=[*PRECISIONS])
    add_compile(parser)
    parser.add_argument("--contiguous", action="store_true", help="ours without channels last, too")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="in a row a turn")
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("overrides", nargs="*", default=[], help="after --: of train")
    args = parser.parse_args()
    started, device = datetime.now(UTC), device_of(args.accelerator)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as trainer=gpu has it
    rates = {name: matmul_rate(device, PRECISIONS[name]) for name in ("32-true", *args.precision)}
    rows = []
    for batch in args.batch:
        rows += measure(args, batch, device, rates)
        found = Benchmark(tuple(rows), facts_of(device, rates, started))
        write(args.output, found)  # each time: what was measured outlives a limit of time
    show(found)


if __name__ == "__main__":
    main()
