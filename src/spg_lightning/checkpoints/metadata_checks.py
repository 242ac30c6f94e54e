"""Check the config of a checkpoint before anything is built or allocated by it: the file may come from anywhere."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.errors import UserError
from spg_lightning.utils.validation import check_ranges

MOST_ENTRIES, DEEPEST = 100_000, 32  # of a config; this package's have some hundred, at most eight levels deep
CHOICES = ("views", "normalize", "refine")  # groups of parts by name
GROUPS = (*CHOICES, "score_map", "method", "stem", "dataset", "data", "module")  # hold keys


def check_config(config: Any, where: str) -> None:
    """Check that a config is plain data of a sensible size and depth, without interpolations, and every number in its range.

    Raises:
        UserError: it is not; the text names the key.
    """
    if not isinstance(config, Mapping):
        raise UserError(f"{where} is damaged: it holds no config; train again")
    _check_plain(config, where)
    for key in GROUPS:
        _require(key, config.get(key), isinstance(config.get(key, {}), Mapping), where)
    for key in CHOICES:
        for name, node in config.get(key, {}).items():
            is_none = node is None and key != "normalize"
            _require(f"{key}.{name}", node, is_none or (isinstance(node, Mapping) and "_target_" in node), where)
    try:
        check_ranges(OmegaConf.create(dict(config)))
    except UserError as error:
        raise UserError(f"{where}: its config has {error}") from None


def _require(key: str, node: Any, is_valid: bool, where: str) -> None:
    if not is_valid:
        raise UserError(f"{where} is damaged: {key}={str(node)[:40]} makes no sense; train again")


def _check_plain(config: Mapping[Any, Any], where: str) -> None:
    """Walk a config without recursion: lists that contain themselves have no end."""
    waiting: list[tuple[str, Any, int]] = [("", config, 0)]
    count = 0
    while waiting:
        key, node, depth = waiting.pop()
        count += 1
        if count > MOST_ENTRIES or depth > DEEPEST:
            raise UserError(f"{where} is damaged: its config has more than {MOST_ENTRIES} entries or {DEEPEST} levels")
        if isinstance(node, Mapping):
            if not all(isinstance(name, str) for name in node):
                raise UserError(f"{where} is damaged: a key of its config, below '{key}', is not a text")
            waiting += [(f"{key}.{name}".strip("."), value, depth + 1) for name, value in node.items()]
        elif isinstance(node, list):
            waiting += [(key, value, depth + 1) for value in node]
        elif isinstance(node, str) and "${" in node:  # would read the environment, or run a resolver
            raise UserError(f"{where}: its config holds an interpolation ({key}: {node[:60]}); refused")
        elif not isinstance(node, str | int | float | None):
            raise UserError(f"{where} is damaged: {key} of its config is a {type(node).__name__}, not plain data")
