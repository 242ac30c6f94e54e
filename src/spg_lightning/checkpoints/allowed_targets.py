"""What a checkpoint's config may construct: the very objects that this package's own config files name, nothing else.

Hydra's `instantiate` calls whatever a config names; a name inside this package is not enough, as its modules import others
(`spg_lightning.loggers.wandb.logging.FileHandler`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.errors import UserError

GROUPS = ("dataset", "guidance", "method", "stem")  # of conf/, beside train.yaml: what evaluation and prediction build


def check_allowed_targets(node: Any, path: str | Path, trust: Sequence[str] = ()) -> None:
    """Look through a node of a checkpoint's config before it is instantiated.

    Raises:
        UserError: it names something else to construct.
    """
    for target in _targets(node):
        if target not in _allowed_targets():
            raise UserError(
                f"checkpoint={path} would construct {target}, which is none of this package's parts; refused"
            )


@cache
def _allowed_targets() -> frozenset[str]:
    conf = files("spg_lightning.conf")
    texts = [conf / "train.yaml", *(file for group in GROUPS for file in (conf / group).iterdir())]
    return frozenset(
        target
        for text in texts
        if text.name.endswith(".yaml")
        for target in _targets(OmegaConf.to_container(OmegaConf.create(text.read_text(encoding="utf-8"))))
    )


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)
