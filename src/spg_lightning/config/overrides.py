"""Check the overrides of a command line before anything starts, and explain a wrong one in one line."""

import re
from collections.abc import Iterator
from glob import iglob
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from spg_lightning.config.compose import choices_of, compose, compose_with_hydra
from spg_lightning.config.renamed_keys import renamed
from spg_lightning.config.sweep import Sweep, hydra_quote, parse_sweep
from spg_lightning.errors import UserError, nearest

HELP_FLAGS = ("--help", "-h", "--hydra-help", "--info", "-i")
SHOW_CONFIG_FLAGS = ("--cfg", "-c")


def quote_existing_paths(arguments: list[str]) -> list[str]:
    """Quote the values that name a file or folder and that Hydra's grammar would not read as one word.

    Brackets and commas have a meaning there, as in `images=photos[2020]` or `root=birds,mammals`.
    """
    return [_quoted_path(word) for word in arguments]


def _quoted_path(word: str) -> str:
    key, _, value = word.partition("=")
    if word.startswith(("-", "~")) or not value or value[0] in "'\"" or not set(value) & set("[]{},: ()"):
        return word
    try:
        override = OverridesParser.create().parse_override(word)
        if not override.is_sweep_override() and override.value() == value:
            return word
    except HydraException:
        pass
    try:
        is_path = Path(value).expanduser().exists() or ("*" in value and any(iglob(value, recursive=True)))  # noqa: PTH207
    except OSError:  # too long for a name
        return word
    return f"{key}={hydra_quote(Path(value))}" if is_path else word


def check_overrides(command: str, arguments: list[str], debug: bool) -> Sweep | None:
    """Compose the config once, and return the sweep that the command line asks for, None for a single run.

    Raises:
        UserError: the first mistake, in one line instead of Hydra's report.
    """
    if any(word.split("=")[0] in HELP_FLAGS for word in arguments):
        return None
    words = [word for word in arguments if not word.startswith("-") and ("=" in word or word.startswith("~"))]
    try:
        parsed = OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise UserError(
            f"cannot read an override: {_first_sentence(error)} Quote values that hold = , or spaces."
        ) from error
    for override in parsed:
        value = "" if override.is_delete() or override.is_sweep_override() else str(override.value())
        if line := renamed(override.key_or_group, value):
            raise UserError(line)
    single = [_first_choice(override) for override in parsed]
    try:
        cfg = compose_with_hydra(command, [_as_sweep_folder(word) for word in single])
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        raise UserError(_explain(command, error, OverridesParser.create().parse_overrides(single))) from error
    _check_required(command, cfg)
    _check_interpolations(cfg, parsed)
    _check_ablation(cfg)
    return None if set(SHOW_CONFIG_FLAGS) & set(arguments) else parse_sweep(command, arguments, parsed, cfg, debug)


def _check_required(command: str, cfg: DictConfig) -> None:
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    for key, value in _walk({key: value for key, value in plain.items() if key != "hydra"}):
        if value == "???":
            raise UserError(f"{key}=... is needed; see python -m spg_lightning.{command} --help for examples")


def _check_interpolations(cfg: DictConfig, overrides: list[Override]) -> None:
    """Refuse an override with `${...}` that leads nowhere, or to itself: where it is read, its key is no longer known."""
    for override in overrides:
        value = None if override.is_delete() or override.is_sweep_override() else override.value()
        if not isinstance(value, str) or "${" not in value or "${hydra:" in value:  # known when the job runs
            continue
        try:
            OmegaConf.select(cfg, override.key_or_group)
        except (OmegaConfBaseException, RecursionError) as error:
            raise UserError(
                f"{override.key_or_group}={value}: {_first_sentence(error)}; name a key of this config"
            ) from error


def _check_ablation(cfg: DictConfig) -> None:
    """Refuse to override a choice of an ablation, whose row in the table would then have a wrong name."""
    chosen = cfg.hydra.runtime.choices
    file = files("spg_lightning.conf").joinpath(f"ablation/{chosen.get('ablation')}.yaml")
    if not file.is_file():  # none, or the user's own
        return
    for entry in OmegaConf.create(file.read_text(encoding="utf-8")).defaults:
        ((key, choice),) = entry.items()
        group = str(key).removeprefix("override /")
        if chosen[group] != choice:
            raise UserError(
                f"ablation={chosen['ablation']} means {group}={choice}; leave out {group}={chosen[group]}, or the ablation"
            )


def _as_sweep_folder(word: str) -> str:
    """Return an override for a sweep: its output folder holds the folders of the jobs."""
    return word.replace("output_dir=", "hydra.sweep.dir=", 1) if word.startswith("output_dir=") else word


def _first_choice(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    prefix = str(override.input_line).split("=", 1)[0]
    value = override.value()
    first = value.start if isinstance(value, IntervalSweep) else next(iter(override.sweep_string_iterator()), None)
    if first is None:
        raise UserError(f"{override.input_line} has no values")
    return f"{prefix}={first}"


def _explain(command: str, error: Exception, overrides: list[Override]) -> str:
    text = str(error)
    for override in overrides:  # of the parts of a sweeper that is installed
        key, choices = override.key_or_group, choices_of(override.key_or_group)
        if key.startswith("hydra/sweeper/") and override.value() not in choices:
            return f"{key}={override.value()} does not exist; choose from {', '.join(choices)}"
    if missing := re.search(r"hydra/(?:launcher|sweeper)/\w+", text):
        return (
            f"{missing[0]} is not installed; for optuna, joblib and submitit: pip install '.[sweeps]' (in the checkout)"
        )
    keys = [key for key, _ in _walk(OmegaConf.to_container(compose(command), resolve=False))]
    for override in overrides:
        key = override.key_or_group
        if not isinstance(override.value(), str | list | dict) and (choices := choices_of(key)):
            return f"{override.input_line} does not exist; choose from {', '.join(choices)}"
        is_no_file_name = isinstance(error, OSError) and f"/{key}/" in text
        if is_no_file_name or f"'{key}'" in text or f"'{key.rsplit('.', 1)[-1]}'" in text:
            if choices := choices_of(key):
                value = str(override.value())
                if value not in choices:
                    return f"{key}={value} does not exist; choose from {', '.join(choices)}.{nearest(value, choices)}"
            if key not in keys:
                return f"{key} is not a key of this config{_elsewhere(key)}.{_nearest_key(key, keys)} --help lists all{_hint_to_add(key, keys)}"
    return explain_config_error(error)


def explain_config_error(error: Exception) -> str:
    """Return the first sentence of an error of Hydra or OmegaConf, with the key that it is about."""
    key = getattr(error, "full_key", None)
    return f"{key}: {_first_sentence(error)}" if key else _first_sentence(error)


def _first_sentence(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error).split("\n")[0]).strip()


def _walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key below a plain config node with its value."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}", value
            yield from _walk(value, f"{prefix}{name}.")


def _elsewhere(key: str) -> str:
    """Return the choices of the key's group that have it, such as ', but of dataset=folder'."""
    group, _, inside = key.partition(".")
    having = []
    for choice in choices_of(group) if inside else []:
        file = files("spg_lightning.conf").joinpath(f"{group}/{choice}.yaml")
        if file.is_file():  # not the user's own
            node = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")), resolve=False)
            having += [f"{group}={choice}"] if inside in dict(_walk(node)) else []
    return f", but of {', '.join(having)}" if having else ""


def _hint_to_add(key: str, keys: list[str]) -> str:
    """Say how to add a key, unless its node is a constructor's arguments, which takes no others."""
    parent = key.rpartition(".")[0]
    return "" if f"{parent}._target_" in keys else f"; +{key}=... adds a new one"


def _nearest_key(key: str, keys: list[str]) -> str:
    """Suggest a key similar to the whole path, or else to its last part."""
    if hint := nearest(key, keys):
        return hint
    by_last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in reversed(keys)}
    found = nearest(key.rsplit(".", 1)[-1], by_last)
    return f" Did you mean '{by_last[found.split(chr(39))[1]]}'?" if found else ""
