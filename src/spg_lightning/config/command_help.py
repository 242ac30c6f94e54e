"""What `--help` of a command lists: its own config groups, and no other command's."""

import textwrap
from functools import cache
from importlib.resources import files

from omegaconf import OmegaConf

from spg_lightning.config.compose import choices_of

WIDTH = 80  # of a terminal, in columns
RESOLVER = "command_groups"  # in conf/hydra/help/*.yaml
WITH_PLUS = {"train": ("sweep",)}  # groups that a command takes as +group=choice


def register_help_resolver() -> None:
    """Let the templates of the help name a command's groups. Hydra resolves them at each start, several times: once is enough."""
    group_lines.cache_clear()  # another start may see other groups
    OmegaConf.register_new_resolver(RESOLVER, group_lines, replace=True)


@cache  # the function itself: launchers pickle the resolver by its name
def group_lines(command: str) -> str:
    """Return a line for each config group of a command, with its choices; what does not fit goes on below, indented."""
    lines = [f"{group}: {', '.join(choices_of(group))}" for group in groups_of(command)]
    plus = [f"+{group}: {', '.join(choices_of(group))}" for group in WITH_PLUS.get(command, ())]
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in sorted(lines) + plus
    )


def groups_of(command: str) -> list[str]:
    """Return the config groups that a command's defaults name."""
    defaults = OmegaConf.create(
        files("spg_lightning.conf").joinpath(f"{command}.yaml").read_text(encoding="utf-8")
    ).defaults
    keys = [str(key) for entry in OmegaConf.to_container(defaults) if isinstance(entry, dict) for key in entry]  # type: ignore[union-attr]
    return [key for key in keys if not key.startswith(("override ", "optional "))]
