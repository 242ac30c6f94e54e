"""What a run varies: the choices in which its config departs from `conf/train.yaml`, so that seeds of one variant meet."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from omegaconf import OmegaConf

GROUPS = ("guidance", "shared_weights", "fuse", "thresholds", "score_map", "schedule")
Plain = Mapping[str, Any]


def variant(config: Plain) -> dict[str, str]:
    """Return the method, and each choice of an ablation's group that is not the default.

    Values that no file of the group has are told by key: `{"method": "spg", "thresholds.b1.high": "0.4"}`.

    Args:
        config: of a run, resolved, as its config.yaml holds it.
    """
    parts = {"method": str(config["method"]["name"])}
    for group in GROUPS:
        if group not in config:
            continue
        chosen = dict(_leaves(config[group], group))
        changed = {name: _changed(chosen, dict(leaves)) for name, leaves in _files(group).items()}
        choice = min(
            changed, key=lambda name: len(changed[name])
        )  # the default comes first, and wins where equally near
        if choice != next(iter(changed)):
            parts[group] = choice
        parts |= changed[choice]
    if (frozen := config["module"]["freeze"]) != "none":
        parts["module.freeze"] = frozen
    return parts


def variant_name(parts: Mapping[str, str]) -> str:
    """Return a variant in one line: `spg guidance=direct`."""
    return " ".join([parts["method"], *(f"{key}={value}" for key, value in parts.items() if key != "method")])


@cache
def _files(group: str) -> dict[str, tuple[tuple[str, Any], ...]]:
    """Return every file of a group as its leaves, the default of `train` first."""
    conf = files("spg_lightning.conf")
    defaults = _read(conf / "train.yaml")["defaults"]
    default = next(str(entry[group]) for entry in defaults if isinstance(entry, dict) and group in entry)
    found = {file.name.removesuffix(".yaml"): file for file in (conf / group).iterdir() if file.name.endswith(".yaml")}
    names = sorted(found, key=lambda name: (name != default, name))
    return {n: tuple(_leaves(_read(found[n]), group)) for n in names}


def _read(file: Traversable) -> Any:
    return OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")), resolve=False)


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}")
    else:
        yield key, node


def _changed(chosen: dict[str, Any], file: dict[str, Any]) -> dict[str, str]:
    keys = {**file, **chosen}
    return {key: str(chosen.get(key)) for key in keys if chosen.get(key) != file.get(key)}
