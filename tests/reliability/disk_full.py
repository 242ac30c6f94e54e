"""Let the disk be full from the n-th write of a command on, for each n: `python -m tests.reliability.disk_full`."""

import argparse
import builtins
import errno
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.reliability.forked import command_in, finish, fork, import_everything
from tests.reliability.kills import COMMANDS, check_whole, results, write_inputs

FULL = ("train", "predict", "prepare")


class Disk:
    """Counts what writes below a folder: files and folders that are made, and what reaches them from Python's buffers.

    C code that writes to a file by itself, such as `numpy.save`, is seen when it opens the file.

    Args:
        folder: whose disk it is.
        full_at: number of the first write that fails, and all after it; 0 for none.
    """

    def __init__(self, folder: Path, full_at: int) -> None:
        self.folder, self.full_at, self.writes = os.path.realpath(folder), full_at, 0

    def write(self, path: Any) -> None:
        """Count one write.

        Raises:
            OSError: the disk is full.
        """
        if isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(self.folder + os.sep):
            self.writes += 1
            if 0 < self.full_at <= self.writes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def install(self) -> None:
        """Take the place of this process's disk."""
        disk, original, make_folder = self, io.open, os.mkdir

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                disk.write(self.name)
                return super().write(data)

        def open_(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
                  newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
            if not set(mode) & set("wax+") or not isinstance(file, str | os.PathLike):
                return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not Path(file).exists():
                disk.write(file)
            raw = Raw(os.fspath(file), mode.replace("b", "").replace("t", ""), closefd, opener)
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

        def mkdir(path: Any, *more: Any, **options: Any) -> None:
            if not Path(path).exists():
                disk.write(path)
            make_folder(path, *more, **options)

        io.open = builtins.open = open_  # type: ignore[assignment]
        os.mkdir = mkdir


def on_disk(disk: Disk, act: Callable[[], int], counted: Path) -> Callable[[], int]:
    """Return a call on a disk that leaves the number of its writes in a file elsewhere."""

    def call() -> int:
        disk.install()
        code = act()
        with os.fdopen(os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
            file.write(str(disk.writes))
        return code

    return call


def judge(code: int, text: str, torn: list[str]) -> list[str]:
    """Return what is wrong with a command on a full disk: it fails in one line, and leaves no torn file under its name.

    It may succeed: without a line in its log file, without a checkpoint to resume from, with the index in the user's cache.
    """
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    problems = [f"torn: {file}" for file in torn]
    if code and (len(errors) != 1 or "Traceback" in text):
        problems.append(f"{len(errors)} error lines: {text[-700:]}")
    return problems


def run(name: str, folder: Path, every: int) -> tuple[int, list[str]]:
    """Fill the disk at each `every`-th write of a command; return how many were tried, and what was wrong."""
    command, words = COMMANDS[name]
    inputs, whole, counted = folder / "inputs", folder / name / "whole", folder / f"{name}.count"
    whole.mkdir(parents=True)
    text = folder / f"{name}.txt"
    assert (
        finish(fork(on_disk(Disk(whole, 0), command_in(whole, command, words(inputs, whole)), counted), text)) == 0
    ), text.read_text()
    expected, writes, problems = results(whole), int(counted.read_text()), []
    tried = range(1, writes + 1, every)
    for full_at in tried:
        out = folder / name / str(full_at)
        out.mkdir()
        act = command_in(out, command, words(inputs, out))
        text.write_text("")
        code = finish(fork(on_disk(Disk(out, full_at), act, counted), text))
        found = judge(code or 0, text.read_text(), check_whole(out))
        text.write_text("")
        if finish(fork(act, text)) != 0:
            found.append(f"with room the same command fails: {text.read_text()[-500:]}")
        else:
            now = results(out)
            found += [
                f"other results: {key}"
                for key in sorted(expected.keys() | now.keys())
                if expected.get(key) != now.get(key)
            ]
        found = [f"{name}, full at write {full_at} of {writes}: {problem}" for problem in found]
        print(*found, sep="\n", end="\n" if found else "", flush=True)
        problems += found
        shutil.rmtree(out)
    return len(tried), problems


def main() -> int:
    """Run the commands; return 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.disk_full", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="each so many writes")
    parser.add_argument("--only", choices=COMMANDS, default=None, help="one command")
    asked = parser.parse_args()
    folder, failed = Path(tempfile.mkdtemp(prefix="full-")), False
    try:
        import_everything()
        (folder / "inputs").mkdir()
        write_inputs(folder / "inputs")
        for name in FULL if asked.only is None else [asked.only]:
            started = time.monotonic()
            tried, problems = run(name, folder, asked.every)
            print(f"{name}: {tried} writes, {len(problems)} problems, {time.monotonic() - started:.0f} s", flush=True)
            failed |= bool(problems)
    finally:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
