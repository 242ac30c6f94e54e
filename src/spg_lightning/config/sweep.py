"""The folder of a Hydra multirun, and the status of its jobs. Each job is a process of its own, see `sweep_job`.

The folder follows from the command alone, so that the same command finds its finished jobs.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import prod
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.job_records import Job, JobRecords
from spg_lightning.errors import UserError
from spg_lightning.utils.config_keys import NON_IDENTITY_KEYS
from spg_lightning.utils.distributed import torchrun_world_size
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.terminal import print_line

NAMED_AFTER_THE_COMMAND = "auto"  # hydra.sweep.dir in conf/common.yaml
# sweepers: Hydra's own, which runs every combination, and ours
GRID, SEARCH = "BasicSweeper", "OptunaSweeper"
MULTIRUN = ("-m", "--multirun")
# overrides that choose where and how jobs run, not which
IGNORED_IN_NAME = ("sweep", *NON_IDENTITY_KEYS)


@dataclass(frozen=True)
class Sweep:
    """One call of a sweep.

    Attributes:
        command: of its jobs.
        folder: holds the folders of the jobs.
        arguments: for Hydra's command line.
        debug: whether jobs show tracebacks of a user's mistakes.
        size: how many jobs, and from which keys; "" if the sweeper decides as it goes.
        is_search: whether Optuna proposes the jobs.
        best: of the objectives, `min` or `max`; its job alone keeps its checkpoints. None: all jobs keep theirs.
    """

    command: str
    folder: Path
    arguments: list[str]
    debug: bool
    size: str
    is_search: bool
    best: Callable[..., Job] | None

    @property
    def records(self) -> JobRecords:
        """The records of its jobs."""
        return JobRecords.of_sweep(self.folder)

    def conclude(self) -> int:
        """Write sweep.csv, print a summary and the failed jobs; return the exit code."""
        jobs = self.records.all()
        with (self.folder / "sweep.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(Job.__dataclass_fields__))
            writer.writeheader()
            writer.writerows(asdict(job) for job in jobs)
        if self.best:
            remove_checkpoints_but_of_best(jobs, self.best)
        failed = [job for job in jobs if job.status == "failed"]
        print_line(f"sweep: {self._counts(jobs)}: {self.folder / 'sweep.csv'}")
        if failed:
            print_line("failed; the same command tries again:")
        for job in failed:
            log = self.records.log(job.number)
            print_line(f"  {job.name}: {job.error}{f'; log: {log}' if log.is_file() else ''}")
        return 1 if failed else 0

    def stopped(self) -> str:
        """Return the line that ends an interrupted sweep."""
        return f"sweep stopped by hand after {self._counts(self.records.all())}; the same command continues in {self.folder}"

    def _counts(self, jobs: list[Job]) -> str:
        count = {
            status: sum(job.status == status for job in jobs) for status in ("trained", "skipped", "pruned", "failed")
        }
        done = "trained" if self.command == "train" else "done"
        pruned = f"{count['pruned']} pruned, " if count["pruned"] else ""
        return f"{count['trained']} {done}, {count['skipped']} finished before, {pruned}{count['failed']} failed"


def remove_checkpoints_but_of_best(jobs: list[Job], best_of: Callable[..., Job]) -> None:
    """Delete the weights of ended jobs, except of the one with the best objective. Failed jobs, and those without one, keep theirs."""
    ended = [job for job in jobs if job.objective is not None]
    best = best_of(ended, key=lambda job: job.objective, default=None)
    for job in jobs:
        if (job.objective is None and job.status != "pruned") or job is best:
            continue
        run_dir = RunDir(Path(job.folder))
        for path in (run_dir.best, run_dir.last):
            path.unlink(missing_ok=True)
    if best is not None:
        print_line(f"checkpoints kept: {RunDir(Path(best.folder)).checkpoints}")


def parse_sweep(
    command: str, arguments: list[str], overrides: list[Override], cfg: DictConfig, debug: bool
) -> Sweep | None:
    """Return the sweep that a command line asks for, None for a single run.

    Args:
        command: of the command.
        arguments: of the command line.
        overrides: parsed from the arguments.
        cfg: composed with the first choice of each swept override; with Hydra's own node.
        debug: see `Sweep`.

    Raises:
        UserError: torchrun started this process; or a key has several values, and no sweep is asked for.
    """
    if not set(MULTIRUN) & set(arguments) and cfg.hydra.mode != RunMode.MULTIRUN:
        if several := [override.input_line for override in overrides if override.is_sweep_override()]:
            raise UserError(f"{several[0]} are several values: add -m for a job each, or give one (a list is [a,b])")
        return None
    if torchrun_world_size() > 1:
        raise UserError("a sweep starts the processes of its jobs itself: run it without torchrun, with trainer=ddp")
    sweeper = str(cfg.hydra.sweeper.get("_target_"))
    intervals = [o.input_line for o in overrides if o.is_sweep_override() and not o.is_discrete_sweep()]
    if intervals and sweeper.endswith(GRID):
        raise UserError(f"{intervals[0]}: a grid has no such values; choose some, or search them with +sweep=optuna")
    node = cfg.hydra.sweeper.get("params")
    params = OmegaConf.to_container(node) if OmegaConf.is_dict(node) else node or {}
    if not isinstance(params, dict):
        raise UserError(
            f"hydra.sweeper.params={params}: give each key its values, as in hydra.sweeper.params.seed='0,1'"
        )
    by_preset = OverridesParser.create().parse_overrides([f"{key!s}={value}" for key, value in params.items()])
    swept = {override.key_or_group for override in by_preset}
    preset = [str(override.value()) for override in overrides if override.key_or_group == "sweep"]
    extra = {o.key_or_group for o in overrides if o.is_sweep_override()} - swept
    fixed = [o for o in overrides if o.key_or_group not in swept | extra and o.key_or_group != "output_dir"]

    folder = Path(str(cfg.hydra.sweep.dir))
    if str(folder) == NAMED_AFTER_THE_COMMAND:
        folder = Path("runs/sweeps") / _name(command, [*preset, *sorted(extra)], fixed)
    exclude = ",".join(f"'{override.key_or_group}'" for override in fixed)
    is_search = sweeper.endswith(SEARCH)
    best = max if cfg.hydra.sweeper.get("direction") == "maximize" else min
    return Sweep(
        command,
        folder,
        [
            "--multirun",  # first: Hydra does not read overrides on both sides of it
            *(word for word in arguments if word not in MULTIRUN and not word.startswith("output_dir=")),
            f"hydra.sweep.dir={hydra_quote(folder)}",
            f"hydra.job.config.override_dirname.exclude_keys=[{exclude}]",  # a job is named after what is swept
            *(["hydra.sweep.subdir=trial-${hydra.job.num}"] if is_search else []),  # its values have too many digits
        ],
        debug,
        _size([*by_preset, *overrides]) if sweeper.endswith(GRID) else "",
        is_search,
        best if cfg.get("keep_checkpoints") == "best_of_sweep" else None,
    )


def _size(overrides: list[Override]) -> str:
    """Return the number of jobs of a grid and its factors. An override replaces the preset's of the same key."""
    last = {override.key_or_group: override for override in overrides}
    swept = {key: override for key, override in last.items() if override.is_sweep_override()}
    counts = {key: len([*override.sweep_string_iterator()]) for key, override in swept.items()}
    factors = " x ".join(f"{key} ({count})" for key, count in counts.items())
    return f"{prod(counts.values())} jobs: {factors}" if counts else ""


def _name(command: str, what: list[str], fixed: list[Override]) -> str:
    """Return a name that depends on the swept keys and the fixed overrides.

    More swept values keep it: `seed=0,1,2` continues `seed=0,1`.
    """
    words = sorted(str(o.input_line) for o in fixed if re.split(r"[./]", o.key_or_group)[0] not in IGNORED_IN_NAME)
    parts = [*([] if command == "train" else [command]), *what]
    name = re.sub(r"[^\w.-]+", "-", "-".join(parts) or "one")[:80]
    return f"{name}-{sha256(chr(0).join(words).encode()).hexdigest()[:8]}" if words else name


def hydra_quote(path: Path) -> str:
    """Return a path quoted for Hydra's override grammar."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
