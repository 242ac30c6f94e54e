"""The one judge of all cases: how a command may end, and what it may change."""

import csv
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.faults.case import OUTPUT, Case, remove
from tests.faults.forked import Outcome, run

KEPT = "kept.txt"  # the user's own file in the output folder
# may change: the caches, the index beside a data set, and the number that ONNX Runtime gives each user
CACHES = ("home/", ".spg_lightning/", "tmp/.ses/")
LONGEST_LINE = 700
# what Python says of itself: of no use to who wrote the input
INTERNAL = re.compile(
    r"NoneType|<class |object at 0x|unsupported operand|positional argument|not subscriptable|has no attribute|"
    r"object is not|not iterable|must be real number|invalid literal|could not convert|\b(?:Type|Key|Index|Attribute|Value|Runtime|Overflow|Recursion|Zero)\w*Error\b|"
    r"not supported between|list index|Expected |assert|\bint\(\)|incompatible function arguments|cannot be interpreted as"
)


@dataclass(frozen=True)
class Verdict:
    """What the judge found of one case.

    Attributes:
        name: of the case.
        problems: none if it held.
        seconds: that its commands took.
        line: the command's error line, or the last line of its output.
        failed: whether the command refused its input.
    """

    name: str
    problems: tuple[str, ...]
    seconds: float
    line: str
    failed: bool


def judge(case: Case, templates: Path, folder: Path) -> Verdict:
    """Run a case in a new folder, judge it, and run it without its fault if it failed. Removes the folder.

    A command that failed and changed nothing, not even a cache, is not run again: it is as if it had not been run.
    """
    (folder / OUTPUT).mkdir(parents=True)
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    (folder / OUTPUT / KEPT).write_text("mine")
    case.place_inputs(templates, folder)
    case.fault(folder)
    before = snapshot(folder)
    done = run(case.command, case.faulty_arguments(), folder, case.environment, case.fresh)
    after = snapshot(folder)
    problems = [*judge_end(case, done), *judge_files(before, after)]
    if done.code == 0:
        problems += invalid_results(folder / OUTPUT)
    seconds = done.seconds
    if done.code == 1 and case.repeats and before != after:
        case.place_inputs(templates, folder)
        again = run(case.command, [*case.arguments], folder, {}, fresh=False)
        seconds += again.seconds
        if again.code != 0:
            problems.append(f"without the fault the same command ends with {again.code}: {last_line(again.err)}")
    remove(folder)
    return Verdict(case.name, tuple(problems), seconds, _shown(done), done.code == 1)


def judge_end(case: Case, done: Outcome) -> list[str]:
    """Return what is wrong with the end of a command."""
    problems = []
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    if done.code is None:
        problems.append("took too long")
    elif done.code not in (0, 1):
        problems.append(f"exit code {done.code}")
    if "Traceback (most recent call last)" in done.err + done.out:
        problems.append(f"traceback: {last_line(done.err)}")
    if done.left:
        problems.append("left processes behind")
    if done.code == 0 and errors:
        problems.append("an error, and exit code 0")
    if done.code == 1:
        problems += judge_line(case, errors)
    if (case.must, done.code) in (("fail", 0), ("succeed", 1)):
        problems.append(f"should {case.must}")
    return problems


def judge_line(case: Case, errors: list[str]) -> list[str]:
    """Return what is wrong with the error lines of a command that failed."""
    if len(errors) != 1:
        return [f"{len(errors)} error lines instead of one"]
    (line,) = errors
    problems = []
    if found := INTERNAL.search(line):
        problems.append(f"speaks of Python ({found[0]})")
    if len(line) > LONGEST_LINE:
        problems.append(f"a line of {len(line)} characters")
    if case.names and not any(name in line for name in case.names):
        problems.append(f"names none of {', '.join(case.names)}")
    return problems


def judge_files(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what changed outside the output folder, and what is lost inside."""
    problems = []
    for name in sorted(before.keys() | after.keys()):
        is_new_result = name.startswith(f"{OUTPUT}/") and name not in before
        if is_new_result or any(cache in f"{name}/" for cache in CACHES) or before.get(name) == after.get(name):
            continue
        change = "lost" if name not in after else "left behind" if name not in before else "changed"
        problems.append(f"{change}: {name}")
    return problems[:3]


def snapshot(folder: Path) -> dict[str, str]:
    """Return path -> what is there, of everything below a folder."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            below = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[below] = f"link to {path.readlink()}"
            elif path.is_file():
                found[below] = hashlib.sha1(path.read_bytes()).hexdigest()
            else:
                found[below] = "folder" if path.is_dir() else "special"
    return found


def invalid_results(folder: Path) -> list[str]:
    """Return the result files that other programs could not read: JSON with NaN, tables with rows of several lengths."""
    problems = []
    for path in sorted(folder.rglob("*")):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
            elif path.suffix == ".jsonl":
                for line in path.read_text(encoding="utf-8").splitlines():
                    json.loads(line, parse_constant=_refuse)
            elif path.suffix == ".csv":
                with path.open(encoding="utf-8", newline="") as file:
                    if len({len(row) for row in csv.reader(file)}) > 1:
                        raise ValueError("rows of several lengths")
        except (ValueError, UnicodeDecodeError) as error:
            problems.append(f"invalid result {path.name}: {error}")
    return problems


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def last_line(text: str) -> str:
    """Return the error line of an output, else its last line."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    return next((line for line in lines if line.startswith("error: ")), lines[-1])[:300]


def _shown(done: Outcome) -> str:
    return last_line(done.err) or last_line(done.out)
