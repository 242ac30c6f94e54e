"""The thin shell around every verb: compose with Hydra, turn a user's mistake into one line and exit code 1."""

import contextlib
import logging
import multiprocessing
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from spg_lightning.config.sweep import Sweep, parse_sweep, print_status
from spg_lightning.config.sweep_job import is_job_of_a_sweep, report_job_error, run_job
from spg_lightning.config.variant import set_variant
from spg_lightning.errors import UserError, find_user_error, first_line, nearest
from spg_lightning.utils.distributed import delay_secondary_error, is_global_zero, is_restart
from spg_lightning.utils.output_dir_lock import output_dir_lock
from spg_lightning.utils.signals import RunInterrupted

T = TypeVar("T")
STOP_SIGNALS = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)  # as Slurm and submitit say that time is up
HELP_FLAGS = ("--help", "-h", "--hydra-help", "--info", "-i")
SHOW_CONFIG_FLAGS = ("--cfg", "-c")
CONFIGS = "pkg://spg_lightning.conf"


def compose(verb: str, overrides: list[str] | None = None) -> DictConfig:
    """Return the config of a verb, as its command line with these overrides would see it.

    Give `output_dir=...` among the overrides: outside the command line there is no run folder to take it from.
    """
    with _hydra():
        cfg = hydra.compose(verb, overrides=overrides or [], return_hydra_config=True)
        set_variant(cfg, cfg.hydra)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg


@contextlib.contextmanager
def _hydra() -> Iterator[None]:
    """Have Hydra look for configs in this package; an application that calls from inside its own gets that back."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("spg_lightning.conf", version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def run_command(verb: str) -> None:
    """Run a verb from the command line: the package's function of that name, with the config of that name."""
    debug = "debug=true" in [arg.lower() for arg in sys.argv] or bool(os.environ.get("HYDRA_FULL_ERROR"))
    sweep = _exit_on_error(lambda: _check_overrides(verb, sys.argv[1:], debug), debug)
    if sweep is not None:

        def run_alone() -> int:
            with output_dir_lock(sweep.records):  # not its folder: with nothing swept that is its only job's, too
                return _run_sweep(sweep)

        sys.exit(_exit_on_error(run_alone, debug))

    if verb == "train":
        _exit_on_error(lambda: _refuse_to_start_anew(sys.argv[1:]), debug)

    def task(cfg: DictConfig) -> None:
        try:
            _exit_on_error(lambda: set_variant(cfg, HydraConfig.get()), debug)
            _exit_on_error(lambda: getattr(import_module(f"spg_lightning.{verb}"), verb)(cfg), debug)
        finally:
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir).resolve())

    for word in sys.argv[1:]:
        if word.startswith("output_dir="):  # Hydra's own files belong there, too
            _exit_on_error(lambda word=word: _make_folder(word), debug)  # type: ignore[misc]
            sys.argv.append(word.replace("output_dir=", "hydra.run.dir=", 1))
    try:
        hydra.main(config_path=CONFIGS, config_name=verb, version_base="1.3")(task)()
    except RunInterrupted as stop:
        delay_secondary_error(is_user_error=True)
        report_job_error(str(stop))
        if is_global_zero():
            print(stop, file=sys.stderr)
        _end_workers()
        sys.exit(stop.code)
    except KeyboardInterrupt:
        if not is_job_of_a_sweep() and is_global_zero():  # the sweep itself has a line for this
            print("stopped by hand", file=sys.stderr)
        sys.exit(130)


def _refuse_to_start_anew(arguments: list[str]) -> None:
    """A run that Slurm or torchrun starts again goes on with its folder's checkpoint; one named after the time is not found."""
    keys = {word.lstrip("+").split("=")[0] for word in arguments}
    if is_restart() and not keys & {"output_dir", "hydra.run.dir", *HELP_FLAGS, *SHOW_CONFIG_FLAGS}:
        raise UserError(
            "Slurm or torchrun restarted this run, but its folder was named after the time of day: give output_dir=<that "
            "folder> resume=auto; and output_dir=<folder> to every job that may be restarted"
        )


def _make_folder(word: str) -> None:
    """Make the folder of an override `output_dir=...`, as Hydra would, which has a traceback where it cannot."""
    folder = str(OverridesParser.create().parse_override(word).value())
    if "${" in folder:
        return
    try:
        Path(folder).expanduser().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir={folder} cannot be made a folder ({error.strerror}); choose another") from error


def _run_sweep(sweep: Sweep) -> int:
    """Let Hydra run the jobs of a sweep; return the exit code."""

    def task(cfg: DictConfig) -> float | None:
        try:
            return run_job(sweep, cfg)
        finally:
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir).resolve())

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    sys.argv[1:] = sweep.arguments
    sweep.begin()
    before = os.environ.get("HYDRA_FULL_ERROR")
    handlers = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra is to raise, not to report and exit
    code = 0
    try:
        hydra.main(config_path=CONFIGS, config_name=sweep.verb, version_base="1.3")(task)()
    except KeyboardInterrupt:
        print_status(sweep.stopped())
        return 130
    except Exception as error:
        code = 1
        if not sweep.jobs() or any(job.status != "failed" for job in sweep.jobs()):
            _print_error(
                error, sweep.debug
            )  # where all jobs failed, their lines say more than a sweeper without a result
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return max(code, sweep.conclude())


def _remove_if_empty(folder: Path) -> None:
    """Take away the folder that Hydra made below the working directory, where nothing went into it."""
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
    """Call, and end with one line where the user has to mend something. Our own mistakes keep their traceback."""
    try:
        return function()
    except Exception as error:
        delay_secondary_error(_as_user_error(error) is not None)
        report_job_error(str(_as_user_error(error) or f"{type(error).__name__}: {first_line(error)}"))
        _print_error(error, debug)
        _end_workers()
        sys.exit(1)


def _end_workers() -> None:
    for worker in multiprocessing.active_children():
        worker.kill()  # a loader process that is stuck does not heed SIGTERM, and Python's end would wait for it


def _print_error(error: Exception, debug: bool) -> None:
    known = _as_user_error(error)
    if known is None or debug:
        traceback.print_exception(error)
    if known is not None:
        print(f"error: {known}", file=sys.stderr)


def _as_user_error(error: BaseException) -> UserError | None:
    if found := find_user_error(error):
        return found
    if isinstance(error, HydraException | OmegaConfBaseException):
        return UserError(" ".join(str(error).split("\n")[0].split()))
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader timed out"):
        return UserError(
            f"{error} (worker_timeout): a loader process is stuck, or reading is very slow. resume=auto goes on with the "
            "last checkpoint; Python before 3.11.10 can lock up where it starts such processes, num_workers=0 has none"
        )
    return None


# --- overrides: say what is wrong with them, and what was probably meant, before anything starts ----------------------


def _check_overrides(verb: str, arguments: list[str], debug: bool) -> Sweep | None:
    """Compose once by ourselves, so that a wrong override gets one line instead of Hydra's report.

    Returns:
        the sweep that the command line asks for, None for a single run.
    """
    words = [word for word in arguments if not word.startswith("-") and ("=" in word or word.startswith("~"))]
    if any(word.split("=")[0] in HELP_FLAGS for word in arguments):
        return None
    try:
        parsed = OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise UserError(
            f"cannot read an override: {_first_sentence(error)} Quote values that hold = , or spaces."
        ) from error
    single = [_first_choice(override) for override in parsed]
    try:
        cfg = _compose_all(verb, [_for_sweep(word) for word in single])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(verb, error, OverridesParser.create().parse_overrides(single))) from error
    for key, value in _walk({k: v for k, v in OmegaConf.to_container(cfg, resolve=False).items() if k != "hydra"}):  # type: ignore[union-attr]
        if value == "???":
            raise UserError(f"{key}=... is needed; see python -m spg_lightning.{verb} --help for examples")
    _refuse_to_undo_an_ablation(cfg)
    return None if set(SHOW_CONFIG_FLAGS) & set(arguments) else parse_sweep(verb, arguments, parsed, cfg, debug)


def _refuse_to_undo_an_ablation(cfg: DictConfig) -> None:
    """A row of the ablation table is a set of choices: one of them overridden, the row would go by a false name."""
    chosen = cfg.hydra.runtime.choices
    if not (name := chosen.get("ablation")):
        return
    text = files("spg_lightning.conf").joinpath(f"ablation/{name}.yaml").read_text(encoding="utf-8")
    for entry in OmegaConf.create(text).defaults:
        ((key, choice),) = entry.items()
        group = str(key).removeprefix("override /")
        if chosen[group] != choice:
            raise UserError(
                f"ablation={name} means {group}={choice}; leave out {group}={chosen[group]}, or the ablation"
            )


def _compose_all(verb: str, overrides: list[str]) -> DictConfig:
    with _hydra():
        return hydra.compose(verb, overrides=overrides, return_hydra_config=True)


def _for_sweep(word: str) -> str:
    """Return an override as a sweep means it: its output folder is the one that holds the jobs' own."""
    return word.replace("output_dir=", "hydra.sweep.dir=", 1) if word.startswith("output_dir=") else word


def _first_choice(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    prefix = str(override.input_line).split("=", 1)[0]
    return f"{prefix}={next(iter(override.sweep_string_iterator()))}"


def _explain(verb: str, error: Exception, overrides: list[Override]) -> str:
    text = str(error)
    if missing := re.search(r"hydra/(?:launcher|sweeper)/\w+", text):
        return (
            f"{missing[0]} is not installed; for optuna, joblib and submitit: pip install '.[sweeps]' (in the checkout)"
        )
    keys = _all_keys(verb)
    for override in overrides:
        key = override.key_or_group
        if f"'{key}'" in text or f"'{key.rsplit('.', 1)[-1]}'" in text:
            if choices := _choices(key):
                value = str(override.value())
                if value not in choices:
                    return f"{key}={value} does not exist; choose from {', '.join(choices)}.{nearest(value, choices)}"
            if key not in keys:
                return f"{key} is no key of this config.{_nearest_key(key, keys)} --help lists all; +{key}=... adds a new one"
    return _first_sentence(error)


def _first_sentence(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error).split("\n")[0]).strip()


def _all_keys(verb: str) -> list[str]:
    """Return every key and group of a verb's default config, dotted."""
    return [key for key, _ in _walk(OmegaConf.to_container(compose(verb), resolve=False))]


def _walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key below a plain config node with its value."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}", value
            yield from _walk(value, f"{prefix}{name}.")


def _nearest_key(key: str, keys: list[str]) -> str:
    """Suggest by the whole path, or else by its last part alone."""
    if hint := nearest(key, keys):
        return hint
    last = key.rsplit(".", 1)[-1]
    by_last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in reversed(keys)}
    found = nearest(last, by_last)
    return f" Did you mean '{by_last[found.split(chr(39))[1]]}'?" if found else ""


def _choices(group: str) -> list[str]:
    with _hydra():
        try:
            return list(GlobalHydra.instance().config_loader().get_group_options(group))
        except HydraException:
            return []
