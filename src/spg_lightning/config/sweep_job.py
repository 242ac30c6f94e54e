"""One job of a sweep: the single run of its overrides, in a process of its own, unless it has been finished before.

Why a process: Lightning starts the further processes of a job by calling the command line again, which in a sweep would be the
whole sweep; a crash or a broken GPU context ends one job alone; and provenance.json names the command of that very run.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.sweep import Job, Sweep, hydra_quote, print_status
from spg_lightning.errors import UserError, nearest
from spg_lightning.utils.config_keys import NON_IDENTITY_KEYS, leaves
from spg_lightning.utils.distributed import is_global_zero

ERROR_FILE = "SPG_LIGHTNING_JOB_ERROR"  # environment variable: where a job's process writes why it failed
SECONDS_TO_END = 20.0  # for an interrupted job, before it is killed


def run_job(sweep: Sweep, cfg: DictConfig) -> float | None:
    """Run a job and record what became of it.

    Returns:
        what `cfg.objective` names in metrics.json; None where the job failed, or has none.
    """
    job, objective, error = HydraConfig.get(), None, ""
    number, folder = int(job.job.num), Path(job.runtime.output_dir)
    name = str(job.job.override_dirname) or folder.name
    status = "skipped"
    try:
        if not is_complete(folder, cfg):
            status = "trained"
            overrides = OmegaConf.to_container(job.overrides.task)
            assert isinstance(overrides, list)
            _run(sweep, [str(word) for word in overrides], folder, sweep.records / f"{number}.error")
        objective = objective_of(folder, cfg)
    except UserError as mistake:
        status, error = "failed", str(mistake)
    if is_global_zero():  # of several processes that a cluster started for this job
        sweep.record(Job(number, name, str(folder), status, objective, error))
        if status == "skipped":
            print_status(f"{name}: finished before, skipped ({folder})")
        elif status == "failed":
            print_status(f"{name}: failed ({error}); the sweep goes on")
    return objective


def is_complete(folder: Path, cfg: DictConfig) -> bool:
    """Tell whether a folder holds the finished run of a config. Where they write to, and whether they went on, does not
    tell configs apart.

    Raises:
        UserError: it holds the finished run of another config.
    """
    if not all((folder / name).is_file() for name in ("provenance.json", "metrics.json", "config.yaml")):
        return False
    there, here = _comparable(OmegaConf.load(folder / "config.yaml")), _comparable(cfg)
    for key in sorted(here.keys() | there.keys()):
        # a finished run's config says what "auto" was where it was made
        if here.get(key) != there.get(key) and here.get(key) != "auto":
            raise UserError(
                f"{folder} holds a finished run of another config ({key}={there.get(key)} there, {here.get(key)} here); "
                "choose another folder with output_dir=..., or remove that one"
            )
    return True


def objective_of(folder: Path, cfg: DictConfig) -> float | None:
    """Return the number that a sweeper is to make small.

    Raises:
        UserError: metrics.json has no such number.
    """
    if (name := cfg.get("objective")) is None or not (folder / "metrics.json").is_file():
        return None
    metrics = json.loads((folder / "metrics.json").read_text())
    if name not in metrics:
        raise UserError(f"objective={name} is no name in metrics.json.{nearest(name, metrics)}")
    return float(metrics[name])


def _comparable(cfg: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    output_dir = str(plain.pop("output_dir"))
    for key in NON_IDENTITY_KEYS:
        plain.pop(key, None)
    return {key: value.replace(output_dir, "") if isinstance(value, str) else value for key, value in leaves(plain)}


def _run(sweep: Sweep, overrides: list[str], folder: Path, error_file: Path) -> None:
    """Run the verb once, by its own command line.

    Raises:
        UserError: it did not end well.
    """
    command = [sys.executable, "-m", f"spg_lightning.{sweep.verb}", *overrides]
    command += [f"output_dir={hydra_quote(folder)}", "hydra.mode=RUN"]
    env = {**os.environ, ERROR_FILE: str(error_file)}
    if not sweep.debug:
        env.pop("HYDRA_FULL_ERROR", None)
    # a process group of its own: an interruption reaches the job's processes from here, once
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, process_group=0)
    try:
        code = process.wait()
    except BaseException:
        _signal(process, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        raise
    finally:
        _signal(process, signal.SIGKILL)  # what is left of the group, where one process of several failed
        process.wait()
    if code != 0:
        told = error_file.read_text().strip() if error_file.is_file() else ""
        raise UserError(told or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"))


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def report_job_error(error: str) -> None:
    """Leave the reason why this process fails where its sweep looks for it, if a sweep started it."""
    if (path := os.environ.get(ERROR_FILE)) and not Path(path).exists():
        Path(path).write_text(error + "\n")


def is_job_of_a_sweep() -> bool:
    """Tell whether a sweep started this process."""
    return ERROR_FILE in os.environ
