"""One job of a sweep: a single run in a process of its own, skipped if its folder holds the finished run.

In one process Lightning would start the further processes of a job by repeating the command line, which is the whole sweep. A
separate process also confines a crash or a broken GPU context to its job, and provenance.json names the job's own command.
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

from spg_lightning.config.job_records import Job, job_name
from spg_lightning.config.search_path import search_path_override
from spg_lightning.config.sweep import Sweep, hydra_quote
from spg_lightning.errors import RunPruned, UserError, nearest
from spg_lightning.utils.config_keys import NON_IDENTITY_KEYS, leaves
from spg_lightning.utils.distributed import is_global_zero
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.study_file import TrialId
from spg_lightning.utils.terminal import print_line

ERROR_FILE = "SPG_LIGHTNING_JOB_ERROR"  # environment variable: file for the error message of a job's process
AT_ONCE = "JoblibLauncher"  # runs jobs at once on one terminal, where their bars would tear each other
STOP_TIMEOUT_S = 20.0  # for an interrupted job to end before it is killed


def run_job(sweep: Sweep, cfg: DictConfig) -> float | None:
    """Run a job and record its status.

    Returns:
        The value of `cfg.objective` in metrics.json; None if the job failed, was pruned, or has no objective.
    """
    job, objective, error = HydraConfig.get(), None, ""
    number, run_dir = int(job.job.num), RunDir(Path(job.runtime.output_dir))
    name = job_name(run_dir.path, sweep.folder)
    is_shared = str(job.launcher.get("_target_")).endswith(AT_ONCE)
    status = "skipped"
    try:
        if not is_complete(run_dir, cfg):
            status = "trained"
            overrides = OmegaConf.to_container(job.overrides.task)
            assert isinstance(overrides, list)
            words = [str(word) for word in overrides]
            if sweep.command == "train" and run_dir.is_used and cfg.resume is None and not cfg.overwrite:
                words.append("resume=auto")  # an unfinished job of an earlier call
            log = sweep.records.log(number) if is_shared else None
            print_line(f"{name}: started{f', log: {log}' if log else ''}")
            trial = TrialId(number, sweep.folder).environment if sweep.is_search else {}
            _run(sweep, words, run_dir.path, sweep.records.error(number), log, trial)
        objective = objective_of(run_dir, cfg)
    except RunPruned as stop:
        status, error = "pruned", str(stop)
        for path in (run_dir.resume, run_dir.previous):  # as a finished run
            path.unlink(missing_ok=True)
    except UserError as mistake:
        status, error = "failed", str(mistake)
    if is_global_zero():  # of the processes that a cluster started for this job
        record = Job(number, name, str(run_dir.path), status, objective, error)
        sweep.records.write(record)
        if status != "trained" or is_shared:
            print_line(record.outcome)
    return objective


def is_complete(run_dir: RunDir, cfg: DictConfig) -> bool:
    """Return whether a folder holds the finished run of a config, up to where and how it ran.

    Raises:
        UserError: it holds the finished run of another config.
    """
    if not run_dir.is_finished:
        return False
    saved, current = _comparable(OmegaConf.load(run_dir.config)), _comparable(cfg)
    for key in sorted(current.keys() | saved.keys()):
        # the saved config has values in place of "auto"
        if current.get(key) != saved.get(key) and current.get(key) != "auto":
            raise UserError(
                f"{run_dir.path} holds a finished run of another config ({key}={saved.get(key)} there, {current.get(key)} "
                "here); choose another folder with output_dir=..., or delete that one"
            )
    return True


def objective_of(run_dir: RunDir, cfg: DictConfig) -> float | None:
    """Return the number that a sweeper minimizes.

    Raises:
        UserError: metrics.json has no such number.
    """
    if (name := cfg.get("objective")) is None or not run_dir.metrics.is_file():
        return None
    metrics = json.loads(run_dir.metrics.read_text())
    if name not in metrics:
        raise UserError(f"objective={name} is not a name in metrics.json.{nearest(name, metrics)}")
    return float(metrics[name])


def _comparable(cfg: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    output_dir = str(plain.pop("output_dir"))
    for key in NON_IDENTITY_KEYS:
        plain.pop(key, None)
    return {key: value.replace(output_dir, "") if isinstance(value, str) else value for key, value in leaves(plain)}


def _run(
    sweep: Sweep, overrides: list[str], folder: Path, error_file: Path, log: Path | None, variables: dict[str, str]
) -> None:
    """Run the command once, by its own command line. Its output goes to `log`, if there is one.

    Raises:
        UserError: it failed.
        RunPruned: it was a hopeless trial.
    """
    command = [sys.executable, "-m", f"spg_lightning.{sweep.command}", *overrides, *search_path_override()]
    command += [f"output_dir={hydra_quote(folder)}", "hydra.mode=RUN"]
    env = {**os.environ, ERROR_FILE: str(error_file), **variables}
    if not sweep.debug:
        env.pop("HYDRA_FULL_ERROR", None)
    # a process group of its own: an interruption reaches the job's processes from here, once
    output = None if log is None else log.open("w")
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
    )
    if output is not None:
        output.close()
    try:
        code = process.wait()
    except BaseException:
        _signal(process, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        raise
    finally:
        _signal(process, signal.SIGKILL)  # the rest of the group, if one of several processes failed
        process.wait()
    if code != 0:
        error = error_file.read_text().strip() if error_file.is_file() else ""
        if code == RunPruned.code:
            raise RunPruned(error)
        raise UserError(error or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"))


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def report_job_error(error: str) -> None:
    """Write why this process fails to the file that its sweep reads, if a sweep started it."""
    if (path := os.environ.get(ERROR_FILE)) and not Path(path).exists():
        Path(path).write_text(error + "\n")


def is_job_of_a_sweep() -> bool:
    """Return whether a sweep started this process."""
    return ERROR_FILE in os.environ
