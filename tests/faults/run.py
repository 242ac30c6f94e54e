"""Generate cases over all inputs, run them, and count what held: `python -m tests.faults`."""

import argparse
import gc
import json
import os
import pkgutil
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import spg_lightning
from tests.faults import (
    annotation_files,
    archives,
    checkpoint_files,
    config_keys,
    data_trees,
    environment,
    maps,
    photos,
    run_folders,
)
from tests.faults.case import Case, remove
from tests.faults.judge import Verdict, judge
from tests.faults.templates import write_templates

KINDS = (config_keys, data_trees, photos, checkpoint_files, annotation_files, archives, maps, run_folders, environment)


def all_cases() -> list[Case]:
    """Return every case that the generators know."""
    return [case for kind in KINDS for case in kind.cases()]


def draw(count: int, seed: int) -> list[Case]:
    """Return so many cases, of each kind of input the same share as far as it has them."""
    rng = random.Random(seed)
    pools = [[*kind.cases()] for kind in KINDS]
    for pool in pools:
        rng.shuffle(pool)
    drawn: list[Case] = []
    while len(drawn) < count and any(pools):
        for pool in pools:
            if pool and len(drawn) < count:
                drawn.append(pool.pop())
    return drawn


def without_fault(cases: list[Case]) -> list[Case]:
    """Return each command of the cases once, without a fault: it must succeed, or the case says nothing."""
    good = {(case.command, case.arguments): case for case in cases}
    return [
        Case(
            f"good/{case.command} {' '.join(case.arguments)}", case.command, case.arguments, case.inputs, must="succeed"
        )
        for case in good.values()
    ]


def run_cases(cases: list[Case], folder: Path, jobs: int) -> Iterator[Verdict]:
    """Run cases in forks of this process, so many at once; yield their verdicts as they come."""
    global _cases, _folder
    gc.collect()
    gc.freeze()  # a fork's garbage collection would copy all memory
    _cases, _folder = cases, folder
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        for done in as_completed([pool.submit(_judge, number) for number in range(len(cases))]):
            yield done.result()


_cases: list[Case] = []
_folder = Path()


def _judge(number: int) -> Verdict:
    case = _cases[number]
    try:
        return judge(case, _folder / "templates", _folder / f"case {number}")
    except Exception as error:  # one case of which the fault cannot be made does not end the run
        return Verdict(case.name, (f"the case itself fails: {error!r}",), 0.0, "", failed=False)


def prepare(folder: Path) -> None:
    """Import all modules of the package, which its commands do when they need them, and write the good inputs."""
    for module in pkgutil.walk_packages(spg_lightning.__path__, "spg_lightning."):
        if ".conf" not in module.name:
            import_module(module.name)
    write_templates(folder / "templates")


def main() -> int:
    """Run the cases that the command line asks for; return 1 if one of them is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="cases at once")
    parser.add_argument("--only", default=None, help="all cases whose names begin so")
    parser.add_argument("--quick", action="store_true", help="do not run the commands without their faults first")
    parser.add_argument("--record", type=Path, help="gets each verdict as it comes; the same command goes on from it")
    parser.add_argument("--list", action="store_true", help="count all cases by kind, and run none")
    asked = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names that are not UTF-8
    started, verdicts = time.monotonic(), read_record(asked.record)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        prepare(folder)
        if asked.list:
            print(Counter(case.name.split("/")[0] for case in all_cases()))
            return 0
        cases = draw(asked.cases, asked.seed)
        if asked.only is not None:
            cases = [case for case in all_cases() if case.name.startswith(asked.only)]
        first = [] if asked.quick else without_fault(cases)
        known = {verdict.name for verdict in verdicts}
        left = [case for case in [*first, *cases] if case.name not in known]
        for verdict in run_cases(left, folder, asked.jobs):
            verdicts.append(verdict)
            if asked.record:
                with asked.record.open("a") as record:
                    record.write(json.dumps(asdict(verdict)) + "\n")
            print(shown(verdict), flush=True)
    finally:
        remove(folder)
    print(summary(verdicts, time.monotonic() - started))
    return int(any(verdict.problems for verdict in verdicts))


def read_record(path: Path | None) -> list[Verdict]:
    """Return the verdicts that an ended run left in its record."""
    lines = path.read_text().splitlines() if path and path.exists() else []
    return [Verdict(**json.loads(line)) for line in lines]


def shown(verdict: Verdict) -> str:
    """Return a verdict as text: a line, and for a broken case what is wrong and how to repeat it."""
    lines = [f"{'BROKEN' if verdict.problems else 'held'} {verdict.name} ({verdict.seconds:.1f} s): {verdict.line}"]
    if verdict.problems:
        lines += [*verdict.problems, f"python -m tests.faults --only {shlex.quote(verdict.name)}"]
    return "\n    ".join(lines)


def summary(verdicts: list[Verdict], seconds: float) -> str:
    """Return the counts by kind of input as a table."""
    lines = [f"{'':18}{'tried':>7}{'refused':>9}{'accepted':>10}{'held':>7}{'broken':>8}"]
    kinds = dict.fromkeys(verdict.name.split("/")[0] for verdict in verdicts)
    for kind in [*kinds, ""]:
        of_kind = [verdict for verdict in verdicts if not kind or verdict.name.startswith(f"{kind}/")]
        broken, failed = sum(bool(v.problems) for v in of_kind), sum(v.failed for v in of_kind)
        lines.append(
            f"{kind or 'all':18}{len(of_kind):>7}{failed:>9}{len(of_kind) - failed:>10}{len(of_kind) - broken:>7}{broken:>8}"
        )
    return "\n".join([*lines, f"{seconds:.0f} seconds"])


if __name__ == "__main__":
    sys.exit(main())
