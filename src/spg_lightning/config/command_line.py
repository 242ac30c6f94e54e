"""Run a command from the command line: a user's mistake is one line and exit code 1. Imports no torch."""

import contextlib
import errno
import logging
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.spg_devices_launcher import DevicesLauncher
from hydra_plugins.spg_optuna_sweeper import OptunaSweeper
from spg_lightning.config.command_help import register_help_resolver
from spg_lightning.config.overrides import (
    HELP_FLAGS,
    SHOW_CONFIG_FLAGS,
    check_overrides,
    explain_config_error,
    quote_existing_paths,
)
from spg_lightning.config.search_path import set_user_search_path
from spg_lightning.config.sweep import Sweep
from spg_lightning.config.sweep_job import is_job_of_a_sweep, report_job_error, run_job
from spg_lightning.config.variant import set_variant
from spg_lightning.errors import RunStopped, UserError, find_user_error, first_line, shorten_words
from spg_lightning.utils.distributed import delay_secondary_error, is_global_zero, is_restart
from spg_lightning.utils.output_dir_lock import output_dir_lock
from spg_lightning.utils.signals import stop_with_parent
from spg_lightning.utils.terminal import print_line, replace_unknown_characters
from spg_lightning.utils.user_code import user_line

T = TypeVar("T")
# Ctrl-C, and what Slurm and submitit send
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
CONFIGS = "pkg://spg_lightning.conf"


def run_command(command: str) -> None:
    """Run a command with the arguments in `sys.argv`: the function of that name, with the config of that name."""
    logging.raiseExceptions = False  # a full disk would show a traceback for each line of the log file
    replace_unknown_characters()
    register_help_resolver()
    if is_job_of_a_sweep():
        stop_with_parent()
    sys.argv[1:] = quote_existing_paths(sys.argv[1:])
    debug = "debug=true" in [arg.lower() for arg in sys.argv] or bool(os.environ.get("HYDRA_FULL_ERROR"))
    sweep = _exit_on_error(lambda: _prepare(command, sys.argv[1:], debug), debug)
    if sweep is not None:
        sys.exit(_exit_on_error(lambda: _run_locked_sweep(sweep), debug))

    def task(cfg: DictConfig) -> None:
        try:
            _exit_on_error(lambda: set_variant(cfg, HydraConfig.get()), debug)
            _exit_on_error(lambda: getattr(import_module(f"spg_lightning.{command}"), command)(cfg), debug)
        finally:
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir).resolve())

    try:
        hydra.main(config_path=CONFIGS, config_name=command, version_base="1.3")(task)()
    except RunStopped as stop:
        delay_secondary_error(is_user_error=True)
        report_job_error(str(stop))
        if is_global_zero():
            print_line(str(stop))
        _kill_workers()
        sys.exit(stop.code)
    except KeyboardInterrupt:
        if not is_job_of_a_sweep() and is_global_zero():  # the sweep already reports the interruption
            print_line("stopped by hand")
        sys.exit(130)


def _prepare(command: str, arguments: list[str], debug: bool) -> Sweep | None:
    """Check the command line and create the output folder; return the sweep that it asks for."""
    set_user_search_path(arguments)
    sweep = check_overrides(command, arguments, debug)
    if sweep is None:
        if command == "train":
            _refuse_restart_without_folder(arguments)
        for word in arguments:
            if word.startswith("output_dir="):  # Hydra's own files belong there, too
                _make_folder(word)
                sys.argv.append(word.replace("output_dir=", "hydra.run.dir=", 1))
    return sweep


def _refuse_restart_without_folder(arguments: list[str]) -> None:
    """Refuse to restart a run whose folder was named after the time: its checkpoints would not be found."""
    keys = {word.lstrip("+").split("=")[0] for word in arguments}
    if is_restart() and not keys & {"output_dir", "hydra.run.dir", *HELP_FLAGS, *SHOW_CONFIG_FLAGS}:
        raise UserError(
            "Slurm or torchrun restarted this run, but its folder was named after the time of day: give output_dir=<that "
            "folder> resume=auto; and output_dir=<folder> to every job that may be restarted"
        )


def _make_folder(word: str) -> None:
    """Create the folder of an `output_dir=...` override. Hydra would show a traceback if it cannot."""
    folder = str(OverridesParser.create().parse_override(word).value())
    if "${" in folder:
        return
    if folder == "???":  # Hydra's word for a value that is missing
        raise UserError("output_dir=??? is no folder; choose one")
    try:
        Path(folder).expanduser().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir={folder} cannot be made a folder ({error.strerror}); choose another") from error


def _run_locked_sweep(sweep: Sweep) -> int:
    # the records, not the sweep's folder: a sweep over nothing shares that with its only job
    with output_dir_lock(sweep.records.folder):
        return _run_sweep(sweep)


def _run_sweep(sweep: Sweep) -> int:
    """Let Hydra run the jobs of a sweep; return the exit code."""

    def task(cfg: DictConfig) -> float | None:
        try:
            return run_job(sweep, cfg)
        finally:
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir).resolve())

    interrupted = False

    def stop(number: int, frame: Any) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    if sweep.size:
        print_line(f"sweep of {sweep.size}")
    sys.argv[1:] = sweep.arguments
    sweep.records.begin(keep_ended=sweep.is_search)
    for plugin in (DevicesLauncher, OptunaSweeper):
        Plugins.instance().register(plugin)  # in an editable installation Hydra does not find it
    previous = os.environ.get("HYDRA_FULL_ERROR")
    # nohup and a shell's background jobs ignore some of them
    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, stop) for number in heeded}
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of exiting
    code = 0
    try:
        hydra.main(config_path=CONFIGS, config_name=sweep.command, version_base="1.3")(task)()
    except (KeyboardInterrupt, Exception) as error:
        # Hydra makes an error of its own of one that arrives while it composes a job's config
        if interrupted or isinstance(error, KeyboardInterrupt):
            print_line(sweep.stopped())
            return 130
        code = 1
        # if all jobs failed, their errors say more than the sweeper's
        jobs = sweep.records.all()
        if not jobs or any(job.status != "failed" for job in jobs):
            _print_error(error, sweep.debug)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if previous is not None:
            os.environ["HYDRA_FULL_ERROR"] = previous
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return max(code, sweep.conclude())


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder that Hydra created below the working directory if nothing was written to it."""
    if not folder.is_dir() or any(folder.iterdir()):
        return
    for handler in logging.getLogger().handlers[:]:  # of the log file that was never opened
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == folder:
            logging.getLogger().removeHandler(handler)
    with contextlib.suppress(OSError):  # another process of the run was faster
        while Path.cwd() in folder.parents and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _exit_on_error(function: Callable[[], T], debug: bool) -> T:
    """Call a function; on an error print it and exit with code 1. A user's mistake, or an error in a user's code, is one line."""
    try:
        return function()
    except Exception as error:
        delay_secondary_error(_as_user_error(error) is not None)
        report_job_error(str(_as_user_error(error) or f"{type(error).__name__}: {first_line(error)}"))
        _print_error(error, debug)
        _kill_workers()
        sys.exit(1)


def _kill_workers() -> None:
    for worker in multiprocessing.active_children():
        worker.kill()  # a stuck loader process ignores SIGTERM, and Python would wait for it at exit


def _print_error(error: Exception, debug: bool) -> None:
    known = _as_user_error(error)
    if known is None or debug:
        traceback.print_exception(error)
    if known is not None:
        print_line(f"error: {shorten_words(str(known))}")


def _as_user_error(error: BaseException) -> UserError | None:
    if found := find_user_error(error):
        return found
    if isinstance(error, HydraException | OmegaConfBaseException):
        return UserError(explain_config_error(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{error.filename or 'output_dir'}: {error.strerror}; make room, then give the same command again"
        )
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes | os.PathLike):
        return UserError(
            f"{os.fsdecode(error.filename)}: {error.strerror}; check the path and who may read and write it"
        )
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader timed out"):
        return UserError(
            f"{error} (worker_timeout): a loader process is stuck, or reading is very slow. resume=auto resumes from the "
            "last checkpoint; Python before 3.11.10 can deadlock while it starts such processes, num_workers=0 avoids them"
        )
    if line := user_line(error):
        return UserError(f"{first_line(error)} ({line}); debug=true shows the traceback")
    return None
