"""Check the values of a config node by the annotations of the constructors that it names."""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

from spg_lightning.errors import UserError

PACKAGE = "spg_lightning."
LARGEST = 2**63  # of a whole number, in amount: what NumPy and torch hold
NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}


def check_argument_types(node: Any, key: str = "") -> None:
    """Check every value that a node gives to constructors of this package; those of others are left to them.

    Args:
        node: plain containers, without interpolations.
        key: of the node, for the message.

    Raises:
        UserError: a value of another type than its constructor takes, or a number that is not finite.
    """
    if isinstance(node, Mapping):
        target = node.get("_target_")
        hints = _hints(target) if isinstance(target, str) and target.startswith(PACKAGE) else {}
        for name, value in node.items():
            where = f"{key}.{name}" if key else str(name)
            if name in hints and not _fits(value, hints[name]):
                raise UserError(
                    f"{where}={str(value)[:60]}: {str(target).rpartition('.')[2]} takes {_name(hints[name])}"
                )
            check_argument_types(value, where)
    elif isinstance(node, list):
        for value in node:
            check_argument_types(value, key)


@cache
def _hints(target: str) -> dict[str, Any]:
    """Return the annotations of a target's arguments by name; none where they cannot be resolved."""
    try:
        found = get_object(target)
        return get_type_hints(found.__init__ if inspect.isclass(found) else found)  # type: ignore[misc]
    except (ImportError, NameError, TypeError):
        return {}  # `instantiate` says what is wrong with a target; names for type checkers alone are not there


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any or (isinstance(value, Mapping) and "_target_" in value):
        return True  # a node's own arguments are checked by its target
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(value, bool) or value is None:
        return hint in (type(value), None)
    if isinstance(value, int | float):
        is_finite = abs(value) < LARGEST if isinstance(value, int) else math.isfinite(value)
        return is_finite and (hint is float or (hint is int and isinstance(value, int)))
    if isinstance(value, str):
        return hint is str
    container, arguments = get_origin(hint) or hint, get_args(hint)
    if isinstance(value, Mapping):
        return container in (Mapping, dict) and all(_fits(entry, arguments[1]) for entry in value.values() if arguments)
    if isinstance(value, list):
        is_sequence = container in (Sequence, Iterable, list, tuple)
        return is_sequence and all(_fits(entry, arguments[0]) for entry in value if arguments)
    return True  # an object, given by code


def _name(hint: Any) -> str:
    """Return an annotation in words."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_name(choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    arguments = get_args(hint)
    if (get_origin(hint) or hint) in (Sequence, Iterable, list, tuple):
        return f"a list of {_name(arguments[0])}" if arguments else "a list"
    if (get_origin(hint) or hint) in (Mapping, dict):
        return "keys with values"
    return NAMES.get(hint) or f"a part ({getattr(hint, '__name__', str(hint))})"
