"""The only place that turns config nodes into objects."""

import inspect
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from spg_lightning.errors import UserError, find_user_error, first_line
from spg_lightning.utils.argument_types import check_types
from spg_lightning.utils.user_code import user_line


def instantiate_node(node: Any, **kwargs: Any) -> Any:
    """Instantiate a config node. Lists and mappings reach the constructor as plain Python containers.

    Raises:
        UserError: a number or a word in place of a node; an argument is of another type than the constructor's signature says, or
            the constructor refused it; names the key, and the line of the user's own code, if it was there.
    """
    key = node._get_full_key(None) if OmegaConf.is_config(node) else ""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if isinstance(plain, str | int | float):
        raise UserError(f"{str(plain)[:60]} is no part; give a node with _target_")
    if isinstance(plain, dict):
        check_types({name: value for name, value in plain.items() if name not in kwargs}, key)
    try:
        return instantiate(node, _convert_="all", **kwargs)
    except InstantiationException as error:
        raise find_user_error(error) or UserError(_summary(error)) from error


def check_arguments(function: partial[Any], key: str) -> None:
    """Check the arguments of a partial whose call comes later.

    Raises:
        UserError: one that the function does not take; names the key, and those that it takes.
    """
    takes = inspect.signature(function.func)
    try:
        takes.bind_partial(*function.args, **function.keywords)
    except TypeError as error:
        name = getattr(function.func, "__name__", str(function.func))
        raise UserError(f"{key}: {name} {error}; it takes {', '.join(takes.parameters)}") from error


def _summary(error: InstantiationException) -> str:
    cause = error.__cause__ or error
    key = str(error).rsplit("full_key:", 1)[-1].strip() if "full_key:" in str(error) else "config"
    line, missing = user_line(cause), cause.__cause__
    hint = f" ({line})" if line else ""
    if not line and isinstance(missing, ModuleNotFoundError) and missing.name and "." not in missing.name:
        hint = f"; install {missing.name}, or set PYTHONPATH to the folder that it is in"
    return f"{key}: {first_line(cause)}{hint}"
