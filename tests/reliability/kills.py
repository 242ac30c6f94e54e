"""Kill every command that writes at random moments, and repeat it: `python -m tests.reliability.kills`."""

import argparse
import csv
import hashlib
import json
import random
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spg_lightning.checkpoints.metadata import read_checkpoint
from tests.callbacks.helpers import SMALL, TIMES
from tests.reliability.forked import command_in, finish, fork, import_everything
from tests.trees import write_cub

Words = Callable[[Path, Path], list[str]]  # (inputs, output folder) -> words of the command line
TIMES_OF_DAY = {"commit", "started", "wall_seconds", "fit_seconds", "command", "resumed_after_steps"}
AGAIN = 0.5  # probability that the repeated command is killed, too


@dataclass
class Tally:
    """What came of a command: kills, the trials they belong to, and what was wrong."""

    kills: int = 0
    trials: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def _train(inputs: Path, out: Path) -> list[str]:
    return [*SMALL, f"dataset.root={inputs / 'cub'}", "trainer.max_epochs=2", "report_images=2", "gallery_images=2",
            "checkpoint_every_steps=1", "resume=auto", f"output_dir={out}"]  # fmt: skip


def _sweep(inputs: Path, out: Path) -> list[str]:
    single = [
        word for word in _train(inputs, out) if not word.startswith(("output_dir", "resume", "trainer.max_epochs"))
    ]
    return ["-m", *single, "trainer.max_epochs=1", "seed=0,1", f"hydra.sweep.dir={out}"]


COMMANDS: dict[str, tuple[str, Words]] = {
    "train": ("train", _train),
    "sweep": ("train", _sweep),
    "evaluate": ("evaluate", lambda i, out: [f"checkpoint={i}/runs/a/checkpoints/last.ckpt", f"output_dir={out}", "num_workers=0"]),
    "predict": ("predict", lambda i, out: [
        f"checkpoint={i}/runs/a/checkpoints/last.ckpt", f"images={i}/photos", f"output_dir={out}", "masks=png", "page=true",
        "overlays=jpg", "writer=[coco,yolo]", "batch_size=4", "num_workers=0"]),
    "prepare": ("prepare", lambda i, out: [
        f"archive={i}/cub.tar", f"dataset.root={out}/cub", "shards=true", "dataset.resize=36", "num_workers=1", f"output_dir={out}/log"]),
    "report": ("report", lambda i, out: [f"runs={i}/runs", f"output_dir={out}"]),
    "export": ("export", lambda i, out: [
        f"checkpoint={i}/runs/a/checkpoints/last.ckpt", "format=torch_export", f"output={out}/model.pt2", f"output_dir={out}/log"]),
    "push": ("push", lambda i, out: [f"checkpoint={i}/runs/a/checkpoints/last.ckpt", f"to={out}/shared", f"output_dir={out}/log"]),
}  # fmt: skip


def write_inputs(folder: Path) -> None:
    """Write what the commands read: a data set and its archive, two runs, photos."""
    write_cub(folder / "cub", per_class=6)
    with tarfile.open(folder / "cub.tar", "w") as archive:
        archive.add(folder / "cub", "cub")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for k in range(16):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / "photos" / f"{k}.jpg")
    for name in ("a", "b"):
        words = [*_train(folder, folder / "runs" / name), f"seed={int(name == 'b')}"]
        assert finish(fork(command_in(folder, "train", words), folder / "log.txt")) == 0, (
            folder / "log.txt"
        ).read_text()


def results(folder: Path) -> dict[str, str]:
    """Return what a finished command has left: a hash of each file's content, without times of day."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = re.sub(
            r"index-[0-9a-f]+-[0-9a-f]+", "index", path.relative_to(folder).as_posix()
        )  # named after its folder
        if path.is_file() and not name.startswith("log/") and path.suffix != ".log" and "/.hydra/" not in f"/{name}":
            found[name] = hashlib.sha256(_content(path, folder)).hexdigest()
    return found


def _content(path: Path, folder: Path) -> bytes:
    """Return the content of a file that must not depend on when, where and how often the command was started."""
    if path.name == "resume.ckpt" or path.suffix == ".pt2":
        return b""  # the time; torch's own names
    if path.suffix == ".ckpt":
        weights = read_checkpoint(path)[1]
        return b"".join(name.encode() + value.numpy().tobytes() for name, value in weights.items())
    if path.name == "index.json":  # of shards
        return json.dumps(json.loads(path.read_text()) | {"updated_at": ""}).encode()
    if path.name == "metrics.csv":
        rows = list(csv.DictReader(path.open()))
        return json.dumps([{k: v for k, v in row.items() if v and k not in TIMES} for row in rows]).encode()
    if path.name == "provenance.json":
        return json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in TIMES_OF_DAY}).encode()
    text = path.read_bytes().replace(str(folder).encode(), b"")
    if path.name == "config.yaml":
        return re.sub(rb"^resume: .*$", b"", text, flags=re.MULTILINE)  # a repeated sweep sets it
    if path.suffix in (".html", ".svg"):
        return b""  # times of day, random ids
    if path.name in ("sweep.csv",) or path.parent.name == ".jobs":
        return text.replace(b"skipped", b"trained")
    if path.name == "predictions.jsonl":  # in the order of the calls
        return b"\n".join(sorted(text.splitlines()))
    return text


def check_whole(folder: Path) -> list[str]:
    """Return the files below a killed command's folder that bear their final name and are not whole."""
    torn = []
    for path in folder.rglob("[!.]*"):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".ckpt":
                torch.load(path, weights_only=True)
            elif path.suffix in (".jpg", ".png") and "gallery" not in path.parts and path.name != "curves.png":
                Image.open(path).load()
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                raise ValueError("no end")
        except Exception as error:
            torn.append(f"{path.relative_to(folder)}: {type(error).__name__} {str(error)[:60]}")
    return torn


def run(kills: int, seed: int, folder: Path, only: str | None = None) -> dict[str, Tally]:
    """Kill the commands so often in all, and return what came of it."""
    rng, tallies = random.Random(seed), {}
    import_everything()
    inputs = folder / "inputs"
    inputs.mkdir()
    write_inputs(inputs)
    names = [name for name in COMMANDS if only in (None, name)]
    for number, name in enumerate(names):
        tally = tallies[name] = Tally()
        started, (command, words) = time.monotonic(), COMMANDS[name]
        share = kills // len(names) + (number < kills % len(names))
        whole = folder / name / "whole"
        duration, expected = _uninterrupted(command, words, inputs, whole)
        while tally.kills < share and not tally.problems:
            out = folder / name / f"{tally.trials}"
            _trial(command, words(inputs, out), out, duration, expected, tally, share, rng)
            shutil.rmtree(out, ignore_errors=True)
        tally.seconds = time.monotonic() - started
        print(
            f"{name}: {tally.kills} kills in {tally.trials} trials, {tally.seconds:.0f} s",
            *tally.problems,
            sep="\n  ",
            flush=True,
        )
    return tallies


def _uninterrupted(command: str, words: Words, inputs: Path, out: Path) -> tuple[float, dict[str, str]]:
    out.mkdir(parents=True)
    begin = time.monotonic()
    code = finish(fork(command_in(out, command, words(inputs, out)), out.with_suffix(".txt")))
    assert code == 0, out.with_suffix(".txt").read_text()
    return time.monotonic() - begin, results(out)


def _trial(
    command: str,
    words: list[str],
    out: Path,
    duration: float,
    expected: dict[str, str],
    tally: Tally,
    most: int,
    rng: random.Random,
) -> None:
    """Kill a command once or more often, then let it end, and compare its results with those of one never killed."""
    out.mkdir()
    text, moments, code = out.with_suffix(".txt"), [], None
    tally.trials += 1
    while code is None:
        is_killed = tally.kills < most and (not moments or rng.random() < AGAIN)
        moments.append(rng.random() * duration if is_killed else None)
        code = finish(fork(command_in(out, command, words), text), moments[-1], is_alone=rng.random() < AGAIN)
        if code is None:
            tally.kills += 1
            tally.problems += [f"after a kill at {moments[-1]:.3f} s: {torn}" for torn in check_whole(out)]
    where = f"killed after {moments[:-1]} s"
    if code != 0:
        tally.problems.append(f"{where}, the same command fails: {text.read_text()[-600:]}")
        return
    found = results(out)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if different:
        tally.problems.append(f"{where}, other results: {', '.join(different[:8])}")


def main() -> int:
    """Run so many kills as the command line asks for; return 1 if something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=COMMANDS, default=None, help="one command")
    parser.add_argument("--folder", type=Path, default=None, help="for all files; kept")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    folder.mkdir(exist_ok=True)
    try:
        tallies = run(asked.kills, asked.seed, folder, asked.only)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder)
    print(
        f"{sum(tally.kills for tally in tallies.values())} kills, {sum(len(t.problems) for t in tallies.values())} problems"
    )
    return int(any(tally.problems for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
