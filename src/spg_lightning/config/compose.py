"""Compose the config of a command with Hydra."""

import contextlib
from collections.abc import Iterator

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict

from spg_lightning.config.variant import set_variant


def compose(command: str, overrides: list[str] | None = None) -> DictConfig:
    """Return the config of a command, as its command line composes it with these overrides.

    Give `output_dir=...` among the overrides: there is no default run folder outside the command line.
    `hydra.searchpath=[...]` adds config folders of your own.
    """
    with hydra_context():
        cfg = hydra.compose(command, overrides=overrides or [], return_hydra_config=True)
        set_variant(cfg, cfg.hydra)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg


def compose_with_hydra(command: str, overrides: list[str]) -> DictConfig:
    """Return the config of a command with Hydra's own node."""
    with hydra_context():
        return hydra.compose(command, overrides=overrides, return_hydra_config=True)


def choices_of(group: str) -> list[str]:
    """Return the choices of a config group, the user's included; none if there is no such group."""
    with hydra_context():
        try:
            return list(GlobalHydra.instance().config_loader().get_group_options(group))
        except HydraException:
            return []


@contextlib.contextmanager
def hydra_context() -> Iterator[None]:
    """Initialize Hydra for this package's configs. Restores any previously active Hydra instance on exit."""
    previous = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("spg_lightning.conf", version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = previous
