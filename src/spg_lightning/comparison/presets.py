"""What the package's own YAML files say: the defaults of `train`, the named choices of a group, which keys only refer."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

TITLES = {
    "spg": "SPG", "spg_plain": "SPG-plain", "cam": "CAM", "has": "HaS", "cutmix": "CutMix", "adl": "ADL", "acol": "ACoL",
}  # fmt: skip


def flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a plain config with its dotted key; a list is one leaf, written as text."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from flatten(value, f"{prefix}{name}.")
    else:
        yield prefix.removesuffix("."), text_of(node) if isinstance(node, list) else node


def text_of(value: Any) -> str:
    """Return a value as an override on the command line would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{','.join(map(text_of, value))}]"
    return "null" if value is None else str(value)


@cache
def groups() -> dict[str, str]:
    """Return the groups of `train` with their default choices."""
    listed = _read("train.yaml")["defaults"]
    pairs = [next(iter(entry.items())) for entry in listed if isinstance(entry, dict)]
    return {str(group): choice for group, choice in pairs if isinstance(choice, str) and " " not in str(group)}


@cache
def choices(group: str) -> dict[str, dict[str, Any]]:
    """Return a group's named choices, each as dotted key -> value."""
    folder = files("spg_lightning.conf") / group
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    return {name.removesuffix(".yaml"): dict(flatten({group: _read(f"{group}/{name}")})) for name in names}


@cache
def defaults() -> dict[str, Any]:
    """Return the values that `train` has with no overrides, where they are written down and refer to no other key."""
    found = {key: value for key, value in flatten(_read("train.yaml")) if not key.startswith(("defaults", "hydra"))}
    for group, choice in groups().items():
        found |= choices(group)[choice]
    return {key: value for key, value in found.items() if not _refers(value)}


@cache
def refers(key: str) -> bool:
    """Tell whether a key, or a node it lies in, only refers to another key."""
    written = [
        *flatten(_read("train.yaml")),
        *(pair for g in groups() for c in choices(g).values() for pair in c.items()),
    ]
    referring = {name for name, value in written if _refers(value)}
    parts = key.split(".")
    return any(".".join(parts[:n]) in referring for n in range(1, len(parts) + 1))


def _refers(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


@cache
def _read(name: str) -> Any:
    with (files("spg_lightning.conf") / name).open(encoding="utf-8") as file:
        return OmegaConf.to_container(OmegaConf.load(file), resolve=False)
