"""Which objects a checkpoint's config may name: this package's own parts, and those of packages that the user trusts.

Hydra's `instantiate` calls any object that a config names, and a checkpoint may come from anywhere. A name inside an allowed
package is not enough, because modules import others (`spg_lightning.loggers.wandb.logging.FileHandler`).
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.errors import UserError

# groups of conf/, beside train.yaml, that evaluation instantiates
GROUPS = ("dataset", "guidance", "method", "normalize", "training_free", "refine", "score_map", "stem", "views")
ENTRY_POINTS = "spg_lightning.trusted"  # group: an installed package lists itself, e.g. birdwatch = "birdwatch"


def check_allowed_targets(node: Any, path: str | Path, trust: Sequence[str] = ()) -> None:
    """Check a node of a checkpoint's config before it is instantiated.

    Allowed are the objects that this package's config files name, and functions and classes defined in a package of `trust` or
    of an entry point in the group `spg_lightning.trusted`. Nothing else is imported.

    Args:
        node: plain containers.
        path: of the checkpoint, for the message.
        trust: names of packages.

    Raises:
        UserError: the node names another target.
    """
    packages = [str(name) for name in trust] + [point.value for point in entry_points(group=ENTRY_POINTS)]
    for key, value in _items(node):
        if key != "_target_" or (isinstance(value, str) and value in _own_targets()):
            continue
        if not isinstance(value, str) or not _is_defined_in(value, packages):
            package = str(value).partition(".")[0]
            raise UserError(
                f"checkpoint={path} would construct {value}, which is not a part of this package; refused. If {package} is your "
                f"own package and defines it, add trust=[{package}]"
            )


def _is_defined_in(target: str, packages: Sequence[str]) -> bool:
    """Return whether a dotted name is a function or class that one of the packages defines, rather than imports."""
    package = next((name for name in packages if target.startswith(f"{name}.")), None)
    if package is None or any(part.startswith("_") or not part.isidentifier() for part in target.split(".")):
        return False
    found = _locate(target)
    module = getattr(found, "__module__", None) or ""
    return (inspect.isclass(found) or inspect.isfunction(found)) and (
        module == package or module.startswith(f"{package}.")
    )


def _locate(target: str) -> Any:
    """Return the object of a dotted name, None if there is none. Imports modules of its package only."""
    parts = target.split(".")
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            found: Any = import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise  # the user's module imports something that is not installed
        for part in parts[count:]:
            found = getattr(found, part, None)
            if inspect.ismodule(found):  # a module that the package imports
                return None
        return found
    return None


@cache
def _own_targets() -> frozenset[str]:
    conf = files("spg_lightning.conf")
    texts = [conf / "train.yaml", *(file for group in GROUPS for file in (conf / group).iterdir())]
    return frozenset(
        value
        for text in texts
        if text.name.endswith(".yaml")
        for key, value in _items(OmegaConf.to_container(OmegaConf.create(text.read_text(encoding="utf-8"))))
        if key == "_target_"
    )


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, at any depth; list entries under the key of their list."""
    for key, value in node.items() if isinstance(node, Mapping) else []:
        for entry in value if isinstance(value, list) else [value]:
            yield str(key), entry
            yield from _items(entry)
    for entry in node if isinstance(node, list) else []:
        yield from _items(entry)
