"""Compare a config's values with the types in the signatures of the constructors that they are for, before these are called."""

import inspect
import math
import types
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from spg_lightning.errors import UserError

WORDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a finite number", str: "a word", Path: "a path", type(None): "null"
}  # fmt: skip
SHOWN = 60  # characters of a value in a message
OF_HYDRA = {"_target_": (str, ...), "_partial_": (bool, ...), "_recursive_": (bool, ...)}  # in every node


def check_types(node: Any, key: str) -> None:
    """Check the arguments of every constructor in a plain, resolved config node.

    Args:
        node: with `_target_`, or containers of such nodes.
        key: of the node, for the message.

    Raises:
        UserError: a value is of another type than the constructor's signature says; names key, value and types.
    """
    if isinstance(node, list):
        for number, entry in enumerate(node):
            check_types(entry, f"{key}.{number}")
    if not isinstance(node, dict):
        return
    target = node.get("_target_")
    parameters = OF_HYDRA | (_parameters(target) if isinstance(target, str) else {})
    for name, value in node.items():
        where = f"{key}.{name}" if key else str(name)
        hint, default = parameters.get(name, (Any, ...))
        if value != default and not _fits(value, hint):
            shown = "null" if value is None else str(value)[:SHOWN]
            raise UserError(f"{where}={shown}: choose {_describe(hint)}")
        check_types(value, where)


@cache
def _parameters(target: str) -> dict[str, tuple[Any, Any]]:
    """Return the type and the default of each parameter of a function or class; none of what cannot be found."""
    module, _, name = target.rpartition(".")
    try:
        function = getattr(import_module(module), name)
        hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
        signature = inspect.signature(function)
    except Exception:  # instantiating it reports the same, in its own words
        return {}
    return {name: (hints[name], parameter.default) for name, parameter in signature.parameters.items() if name in hints}


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or (isinstance(value, dict) and "_target_" in value):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, choice) for choice in arguments)
    if origin is Literal:
        return value in arguments
    if hint in (bool, int, float):
        return _is_number(value, hint)
    if hint in (str, Path):
        return isinstance(value, str)
    if hint is type(None):
        return value is None
    container = origin or hint
    if not inspect.isclass(container):
        return True
    if issubclass(container, Mapping):
        return isinstance(value, dict) and (
            not arguments or all(_fits(entry, arguments[1]) for entry in value.values())
        )
    if issubclass(container, Iterable):
        return isinstance(value, list) and _entries_fit(value, arguments)
    return value is None  # an object: a plain value is none, but null may stand for the lack of one


def _is_number(value: Any, hint: Any) -> bool:
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    return isinstance(value, int) or (hint is float and isinstance(value, float) and math.isfinite(value))


def _entries_fit(entries: list, hints: tuple[Any, ...]) -> bool:
    if len(hints) > 1 and ... not in hints:  # a tuple
        return len(entries) == len(hints) and all(map(_fits, entries, hints))
    return not hints or all(_fits(entry, hints[0]) for entry in entries)


def _describe(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_describe, arguments)))
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if hint in WORDS:
        return WORDS[hint]
    container = origin or hint
    if inspect.isclass(container) and issubclass(container, Mapping):
        return "a mapping"
    if inspect.isclass(container) and issubclass(container, Iterable):
        return "a list" + (f" of {_plural(arguments[0])}" if arguments and arguments[0] in (int, float, str) else "")
    return "a node with _target_, as those of its config group"


def _plural(hint: Any) -> str:
    return {int: "whole numbers", float: "finite numbers", str: "words"}[hint]
