"""The user's config folders, found by every command: `--config-dir <folder>` and `hydra.searchpath=[...]`.

Hydra knows the first only in its own main function and the second only while it composes. As a search path plugin, both hold
for checks, help, error hints and the jobs of a sweep as well.
"""

from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin

from spg_lightning.errors import UserError

CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
_paths: list[str] = []


class UserSearchPath(SearchPathPlugin):
    """Appends the user's folders to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders. Hydra calls this."""
        for path in _paths:
            search_path.append("spg-lightning-user", path)


def set_user_search_path(arguments: list[str]) -> None:
    """Take the user's config folders from a command line.

    Raises:
        UserError: a folder does not exist.
    """
    Plugins.instance().register(UserSearchPath)
    _paths[:] = [f"file://{_folder(folder)}" for folder in config_dirs(arguments)]
    for word in arguments:
        if word.startswith("hydra.searchpath="):
            try:
                value = OverridesParser.create().parse_override(word).value()
            except HydraException:
                continue  # the check of the overrides explains it
            _paths.extend(_source(str(path)) for path in (value if isinstance(value, list) else [value]))


def config_dirs(arguments: list[str]) -> list[str]:
    """Return the folders that `--config-dir` flags of a command line name."""
    pairs = zip(arguments, [*arguments, ""][1:], strict=True)
    return [
        following if word in CONFIG_DIR_FLAGS else word.partition("=")[2]
        for word, following in pairs
        if word.partition("=")[0] in CONFIG_DIR_FLAGS
    ]


def search_path_override() -> list[str]:
    """Return the override that gives another process the same folders; empty without any."""
    quoted = ",".join("'" + path.replace("'", "\\'") + "'" for path in _paths)
    return [f"hydra.searchpath=[{quoted}]"] if _paths else []


def _source(path: str) -> str:
    """Return a `pkg://` of a package without `__init__.py` as its folder: from Python 3.12 on, Hydra cannot list its groups."""
    if not path.startswith("pkg://"):
        return path
    try:
        spec = find_spec(path.removeprefix("pkg://").replace("/", "."))
    except ImportError:
        return path  # Hydra's error names it
    if spec is None or spec.origin is not None or not spec.submodule_search_locations:
        return path
    return f"file://{next(iter(spec.submodule_search_locations))}"


def _folder(name: str) -> Path:
    path = Path(name).expanduser().absolute()
    if not path.is_dir():
        raise UserError(f"--config-dir {name} is not a folder; give the folder that holds your config groups")
    return path
