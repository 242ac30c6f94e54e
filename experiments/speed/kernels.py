"""Where the time of our training step goes: a profile of its kernels (on a CPU: of torch's operations), by kind.

    python experiments/speed/kernels.py --output runs/kernels --batch 128                        (a GPU)

Writes kernels.csv: kind, milliseconds a step, share, calls a step; and kernels.txt, the largest ones by name.
"""

import argparse
import csv
import re
from collections import Counter
from pathlib import Path

import torch
from benchmark import Case, module_of
from step_timing import photos, training
from torch.profiler import ProfilerActivity, profile

from spg_lightning.utils.device import device_of

KINDS = {  # the first that is found in a kernel's name
    "average pooling": r"avg_pool",
    "max pooling": r"max_pool",
    "batch norm": r"batch_norm",
    "convolutions and products": r"xmma|cutlass|nvjet|convol|cask|gemm|addmm",
    "upsampling": r"upsample",
    "optimizer": r"multi_tensor|_foreach",
    "concatenation": r"CatArray|aten::cat",
    "the rest: ReLU, additions, casts, dropout, masks": r"",
}


def kind_of(name):
    """Return the kind of a kernel or operation."""
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, name))


def times(step, device, steps):
    """Return name -> (microseconds, calls) a step."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as seen:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    took, calls = Counter(), Counter()
    for event in seen.events():
        if device.type != "cuda":
            took[event.name] += event.self_cpu_time_total / steps
        elif event.device_type == torch.autograd.DeviceType.CUDA and "#" not in event.name:  # "#": a span, no kernel
            took[event.name] += event.self_device_time_total / steps
        else:
            continue
        calls[event.name] += 1 / steps
    return {name: (took[name], calls[name]) for name in took}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--stem", default="inception_v3")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--accelerator", default="auto")
    args = parser.parse_args()
    device = device_of(args.accelerator)
    torch.backends.cudnn.benchmark = True  # as trainer=gpu has it
    module = module_of(Case(args.stem, args.batch, args.precision, False, 224, 200, ())).to(device)
    step = training(module, args.precision, *photos(args.batch, 224, 200, device))
    for _ in range(5 if device.type == "cuda" else 1):
        step()
    found = times(step, device, 3 if device.type == "cuda" else 1)
    total = sum(took for took, _ in found.values())
    kinds = {kind: [0.0, 0.0] for kind in KINDS}
    for name, (took, calls) in found.items():
        kinds[kind_of(name)][0] += took
        kinds[kind_of(name)][1] += calls
    args.output.mkdir(parents=True, exist_ok=True)
    with (args.output / "kernels.csv").open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kind", "ms_a_step", "share", "calls_a_step"))
        for kind, (took, calls) in sorted(kinds.items(), key=lambda item: -item[1][0]):
            writer.writerow((kind, round(took / 1000, 3), round(took / total, 4), round(calls, 1)))
    largest = sorted(found.items(), key=lambda item: -item[1][0])[:60]
    lines = [f"{took / 1000:9.3f} ms {calls:7.1f} x  {name[:160]}" for name, (took, calls) in largest]
    (args.output / "kernels.txt").write_text("\n".join(lines) + "\n")
    print((args.output / "kernels.csv").read_text())


if __name__ == "__main__":
    main()
