"""The only place that turns config nodes into objects."""

import traceback
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from spg_lightning.errors import UserError, find_user_error, first_line

OWN_FOLDERS = (Path(__file__).parents[1], Path(hydra.__file__).parent)


def instantiate_node(node: Any, **kwargs: Any) -> Any:
    """Instantiate a config node. Lists and mappings reach the constructor as plain Python containers.

    Raises:
        UserError: a constructor refused its arguments; names the key, and the line of code if it is not this package's.
    """
    try:
        return instantiate(node, _convert_="all", **kwargs)
    except InstantiationException as error:
        raise find_user_error(error) or UserError(_summary(error)) from error


def _summary(error: InstantiationException) -> str:
    cause = error.__cause__ or error
    key = str(error).rsplit("full_key:", 1)[-1].strip() if "full_key:" in str(error) else "config"
    return f"{key}: {first_line(cause)}{_location(cause)}"


def _location(error: BaseException) -> str:
    """Return where an error was raised, unless in this package or in Hydra, whose lines tell the user nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or any(folder in Path(frames[-1].filename).parents for folder in OWN_FOLDERS):
        return ""
    return f" ({type(error).__name__} in {frames[-1].filename}, line {frames[-1].lineno})"
