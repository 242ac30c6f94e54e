"""Time training steps, evaluation and input on this machine, in one run. Values given as lists are measured in turns.

python experiments/speed/benchmark.py                                           # EfficientNet-Lite0, batch 8
python experiments/speed/benchmark.py --stem inception_v3 vgg16 --batch-size 1 8 --parts train
python experiments/speed/benchmark.py --parts input -- dataset=cub dataset.root=data/CUB_200_2011
"""

import argparse
import csv
import itertools
import logging
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from step_timing import (
    PRECISIONS,
    evaluation,
    first_calls,
    matmul_rate,
    peak_memory,
    photos,
    run_in_subprocess,
    seconds,
    time_interleaved,
    training,
)

from spg_lightning.callbacks.throughput import step_flops
from spg_lightning.config.build import build_data, build_module, build_network
from spg_lightning.config.compose import compose
from spg_lightning.errors import UserError
from spg_lightning.module import SPGModule
from spg_lightning.utils.compile import CUDA_GRAPHS
from spg_lightning.utils.device import device_of, has_native_bf16
from spg_lightning.utils.logging import configure_logging
from spg_lightning.utils.provenance import provenance, write_json

log = logging.getLogger(__name__)
PARTS = ("train", "evaluate", "input")
COLUMNS = {
    "part": "part", "stem": "stem", "batch": "batch", "precision": "precision", "compile": "compile",
    "median_s": "s a batch, median (quartiles)", "best_s": "fastest", "images_per_second": "images/s", "ratio": "times as fast", "best_ratio": "fastest by fastest",
    "memory_mb": "MB an image", "gflops": "GFLOP an image", "matmul_share": "of the matmul rate",
}  # fmt: skip
TERMINAL = {
    "part": "part", "stem": "stem", "precision": "precision", "batch": "batch", "median_s": "s a\nbatch",
    "images_per_second": "images\n/s", "ratio": "times\nas fast", "memory_mb": "MB an\nimage",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A line of the table. What was not measured is None.

    Attributes:
        part: train, evaluate or input.
        stem, batch, precision, compile: the case.
        repeats, median_s, quartile1_s, quartile3_s: seconds a batch.
        images_per_second: at the median.
        best_s: of the fastest turn, which a machine that others use, too, disturbed least.
        ratio: how many times as fast as the first case of the same part, stem and batch: the median of the turns' ratios.
        best_ratio: the same of the fastest turns.
        first_s: seconds of the first call, which compiles.
        memory_mb: 1e6 bytes an image that a training step needs beyond what is held before it.
        gflops: 1e9 floating point operations of an image's training.
        matmul_share: of the rate of a matrix product in the same precision, measured in the same run.
    """

    part: str
    stem: str
    batch: int
    precision: str
    compile: bool | str
    repeats: int
    median_s: float
    quartile1_s: float
    quartile3_s: float
    images_per_second: float
    best_s: float
    ratio: float | None = None
    best_ratio: float | None = None
    first_s: float | None = None
    memory_mb: float | None = None
    gflops: float | None = None
    matmul_share: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """The rows, and the machine that they were measured on."""

    rows: tuple[Row, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One way to train: what `module_of` builds it from."""

    stem: str
    batch: int
    precision: str
    compile: bool | str
    size: int
    num_classes: int
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """What tells cases of one stem and batch apart."""
        return f"{self.precision}{compiled_as(self.compile)}"


def benchmark(args: argparse.Namespace) -> Benchmark:
    """Measure the cases of the arguments; table.md, results.csv and facts.json go to `args.output`.

    Raises:
        UserError: a stem or device that does not exist.
    """
    configure_logging()
    started, device = datetime.now(UTC), device_of(args.accelerator)
    precisions = args.precision or (list(PRECISIONS) if has_native_bf16(device) else ["32-true"])
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as in trainer=gpu
    rates = {name: matmul_rate(device, PRECISIONS[name]) for name in precisions} if "train" in args.parts else {}
    for name, rate in rates.items():
        log.info("matrix product, %s: %.4g GFLOP/s", name, rate / 1e9)
    rows: list[Row] = []
    steps = args.steps or (1 if device.type == "cpu" else 10)
    for stem, batch in itertools.product(args.stem, args.batch_size):
        cases = [
            Case(stem, batch, precision, compiled, args.size, args.num_classes, tuple(args.overrides))
            for precision in precisions
            for compiled in compile_modes(args.compile)
        ]
        log.info("%s, batch %d: %s", stem, batch, "; ".join(case.name for case in cases))
        rows += _measure(cases, [part for part in args.parts if part != "input"], args, steps, device, rates)
        if "input" in args.parts:
            rows.append(_input(cases[0], args, steps))
        found = Benchmark(tuple(rows), facts_of(device, rates, started))
        write(args.output, found)  # each time, so that the results survive a time limit
    show(found)
    return found


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="input: batches of the data set")
    parser.add_argument("--stem", nargs="+", default=["efficientnet_lite0"], help="choices of train's group")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[8])
    parser.add_argument(
        "--precision", nargs="+", choices=list(PRECISIONS), help="default: all with native instructions"
    )
    add_compile(parser)
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--num-classes", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=1, help="untimed batches of each case, after the first")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument("--steps", type=int, help="batches in a row; default: 1 on the CPU, 10 on a GPU")
    parser.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "gpu"])
    parser.add_argument("--num-workers", type=int, default=0, help="loader processes of the input")
    parser.add_argument("overrides", nargs="*", help="after --: overrides of train")
    return parser.parse_args(words)


def add_compile(parser: argparse.ArgumentParser) -> None:
    """Add the argument that `compile_modes` reads."""
    parser.add_argument(
        "--compile", nargs="*", choices=["true", CUDA_GRAPHS],
        help="also with torch.compile, whose first call takes minutes; reduce-overhead: with CUDA graphs",
    )  # fmt: skip


def compile_modes(chosen: Sequence[str] | None) -> list[bool | str]:
    """Return the modes to measure, eager first; `--compile` alone is that of `true`."""
    if chosen is None:
        return [False]
    return [False, *(word if word == CUDA_GRAPHS else True for word in chosen or ["true"])]


def compiled_as(mode: bool | str) -> str:
    """Return how a case's name ends."""
    if mode == CUDA_GRAPHS:
        return ", CUDA graphs"
    return ", compiled" if mode else ""


def facts_of(device: torch.device, rates: dict[str, float], started: datetime) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    cudnn = torch.backends.cudnn
    rounding = {"cudnn_benchmark": cudnn.benchmark, "float32_convolutions_in_tf32": cudnn.allow_tf32}
    return provenance(
        0, started, device, machine=machine(device), threads=torch.get_num_threads(),
        matmul_gflops={name: round(rate / 1e9, 1) for name, rate in rates.items()},
        **(rounding if device.type == "cuda" else {}),
    )  # fmt: skip


def module_of(case: Case) -> SPGModule:
    """Build a case's module with untrained weights, on the CPU."""
    torch.manual_seed(0)
    weights = () if any(word.startswith("stem.weights=") for word in case.overrides) else ("stem.weights=none",)
    cfg = compose(
        "train",
        [f"stem={case.stem}", *weights, *case.overrides, f"module.compile={case.compile}", "output_dir=unused",
         f"dataset.crop={case.size}", f"dataset.resize={case.size}"],
    )  # fmt: skip
    return build_module(cfg, build_network(cfg, case.num_classes))


def train_memory(case: Case) -> float | None:
    """Return the bytes of a training step on the CPU; call it in a process of its own."""
    device = torch.device("cpu")
    return peak_memory(
        training(module_of(case), case.precision, *photos(case.batch, case.size, case.num_classes, device)), device
    )


def _measure(
    cases: list[Case],
    parts: list[str],
    args: argparse.Namespace,
    steps: int,
    device: torch.device,
    rates: dict[str, float],
) -> Iterable[Row]:
    if not parts:
        return
    if any(case.compile for case in cases):
        torch.compiler.reset()  # a process compiles eight variants of a network, then silently runs them as they are
    modules = {case: module_of(case).to(device) for case in cases}
    for part in parts:
        make = training if part == "train" else evaluation
        used = cases if part == "train" else [case for case in cases if case.compile == cases[0].compile]
        calls = {
            case.name: make(modules[case], case.precision, *photos(case.batch, case.size, case.num_classes, device))
            for case in used
        }
        first = first_calls(calls, device)
        took = time_interleaved({name: calls[name] for name in first}, device, args.warmup, args.repeats, steps)
        used = [case for case in used if case.name in first]
        for case in used:
            of = summary(took[case.name], took[used[0].name], case.batch)
            values: dict[str, Any] = {"first_s": first[case.name], **of}
            if part == "train":
                held = (
                    peak_memory(calls[case.name], device)
                    if device.type == "cuda"
                    else run_in_subprocess(train_memory, case)
                )
                flops = step_flops(modules[case], case.batch, case.size)
                values |= {
                    "memory_mb": None if held is None else held / 1e6 / case.batch,
                    "gflops": flops / 1e9 / case.batch,
                    "matmul_share": flops / values["median_s"] / rates[case.precision],
                }
            compiled = case.compile if part == "train" else False
            yield Row(part, case.stem, case.batch, case.precision, compiled, len(took[case.name]), **values)


def summary(took: list[float], reference: list[float], batch: int) -> dict[str, float]:
    """Return median, quartiles, images a second, and how many times as fast as what took turns with it."""
    low, middle, high = quantiles(took, n=4) if len(took) > 1 else took * 3
    ratios = sorted(there / here for here, there in zip(took, reference, strict=True))
    return {
        "median_s": middle, "quartile1_s": low, "quartile3_s": high, "images_per_second": batch / middle,
        "best_s": min(took), "ratio": (ratios[(len(ratios) - 1) // 2] + ratios[len(ratios) // 2]) / 2,
        "best_ratio": min(reference) / min(took),
    }  # fmt: skip


def _input(case: Case, args: argparse.Namespace, steps: int) -> Row:
    """Time training batches of the data set that the overrides name: read, decoded, transformed."""
    run = compose(
        "train",
        [f"stem={case.stem}", *case.overrides, f"dataset.batch_size={case.batch}", f"dataset.crop={case.size}",
         f"dataset.resize={max(case.size, round(case.size * 8 / 7))}", f"data.num_workers={args.num_workers}",
         "output_dir=unused"],
    )  # fmt: skip
    data = build_data(run)
    data.prepare_data()
    data.setup()
    batches = itertools.chain.from_iterable(itertools.repeat(data.train_dataloader()))
    for _ in range(1 + args.warmup):
        next(batches)
    took = [seconds(lambda: next(batches), torch.device("cpu"), steps) for _ in range(args.repeats)]
    of = summary(took, took, case.batch) | {"ratio": None, "best_ratio": None}
    return Row("input", run.dataset.name, case.batch, "-", False, len(took), **of)  # type: ignore[arg-type]


def machine(device: torch.device) -> str:
    """Return the device's name; a CPU's with its vector instructions, since many that differ in them are called alike."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    bfloat16 = ", bfloat16" if has_native_bf16(device) else ""
    return f"{names[0] if names else platform.machine()} ({torch.backends.cpu.get_cpu_capability()}{bfloat16})"


def write(folder: Path, found: Benchmark) -> None:
    """Write table.md, results.csv and facts.json."""
    folder.mkdir(parents=True, exist_ok=True)
    facts, cells = found.facts, [[_cell(row, key) for key in COLUMNS] for row in found.rows]
    lines = [title(found), "", _markdown(COLUMNS.values()), _markdown(["---"] * len(COLUMNS)), *map(_markdown, cells)]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    with (folder / "results.csv").open("w", newline="") as file:
        machine = {"commit": facts["commit"], "machine": facts["machine"], "torch": facts["versions"]["torch"]}
        rows = [asdict(row) | machine for row in found.rows]
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / "facts.json", facts)


def title(found: Benchmark) -> str:
    """Return what stands above the table."""
    facts = found.facts
    rates = ", ".join(f"{rate:g} GFLOP/s in {name}" for name, rate in facts["matmul_gflops"].items())
    return f"{facts['machine']}, {facts['threads']} threads, torch {facts['versions']['torch']}. Matrix product: {rates or '-'}."


def show(found: Benchmark) -> None:
    """Print the columns that fit a terminal."""
    table = Table(title=title(found), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for k, name in enumerate(TERMINAL.values()):
        table.add_column(name, justify="right" if k > 2 else "left", overflow="fold")
    for row in found.rows:
        of = replace(row, precision=f"{row.precision}{compiled_as(row.compile)}")
        table.add_row(*(f"{of.median_s:.3g}" if key == "median_s" else _cell(of, key) for key in TERMINAL))
    Console().print(table)


def _cell(row: Row, key: str) -> str:
    value = getattr(row, key)
    if value is None:
        return "-"
    if key == "median_s":
        return f"{row.median_s:.4g} ({row.quartile1_s:.4g}-{row.quartile3_s:.4g})"
    if key == "matmul_share":
        return f"{100 * value:.0f} %"
    if key == "compile":
        return "CUDA graphs" if value == CUDA_GRAPHS else "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _markdown(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    try:
        benchmark(arguments())
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
