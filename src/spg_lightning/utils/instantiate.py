"""The only place that turns config nodes into objects."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from spg_lightning.errors import UserError, find_user_error, first_line


def instantiate_node(node: Any, **kwargs: Any) -> Any:
    """Instantiate a config node. Lists and mappings reach the constructor as plain Python containers.

    Raises:
        UserError: a constructor refused its arguments.
    """
    try:
        return instantiate(node, _convert_="all", **kwargs)
    except InstantiationException as error:
        raise find_user_error(error) or UserError(_summary(error)) from error


def _summary(error: InstantiationException) -> str:
    cause = error.__cause__
    key = str(error).rsplit("full_key:", 1)[-1].strip() if "full_key:" in str(error) else "config"
    return f"{key}: {first_line(cause if cause else error)}"
