"""Name a run by the choices and values that set it apart from the defaults. The name is written when a config is composed."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from spg_lightning.utils.config_keys import identifies_variant, leaves


def set_variant(cfg: DictConfig, hydra_cfg: Any) -> None:
    """Fill `cfg.variant` where the command has that key and the user left it null. Hydra must be initialized.

    Args:
        cfg: the composed config.
        hydra_cfg: its `hydra` node.
    """
    if "variant" not in cfg:
        return
    if cfg.variant is None:
        cfg.variant = sorted([*_choices(hydra_cfg), *_values(cfg, hydra_cfg)])
    elif isinstance(cfg.variant, str):
        cfg.variant = [cfg.variant]


def _choices(hydra_cfg: DictConfig) -> Iterator[str]:
    """Yield the group choices that are not the default. An ablation that only stands for further choices is not one itself."""
    config_name = str(hydra_cfg.job.config_name)
    for group, choice in hydra_cfg.runtime.choices.items():
        ignored = group == "trainer" or group.startswith("hydra/") or not identifies_variant(group)
        expanded = group == "ablation" and _only_choices(choice)
        if not ignored and not expanded and choice != _default_choices(config_name).get(group):
            yield f"{group}={choice}"


@cache
def _only_choices(ablation: str | None) -> bool:
    """Return whether an ablation of this package sets no values of its own."""
    path = files("spg_lightning.conf").joinpath(f"ablation/{ablation}.yaml")
    return path.is_file() and set(OmegaConf.create(path.read_text(encoding="utf-8"))) == {"defaults"}


@cache
def _default_choices(config_name: str) -> dict[str, Any]:
    text = files("spg_lightning.conf").joinpath(f"{config_name}.yaml").read_text(encoding="utf-8")
    entries = OmegaConf.to_container(OmegaConf.create(text).defaults)
    assert isinstance(entries, list)
    return {group: choice for entry in entries if isinstance(entry, dict) for group, choice in entry.items()}


def _values(cfg: DictConfig, hydra_cfg: DictConfig) -> Iterator[str]:
    """Yield the overridden values that differ from those of a config with the same choices and no overridden values."""
    parsed = OverridesParser.create().parse_overrides(list(hydra_cfg.overrides.task))
    overrides = {override.get_key_element().lstrip("+~"): override for override in parsed}
    choices = [str(override.input_line) for key, override in overrides.items() if key in hydra_cfg.runtime.choices]
    keys = [key for key in overrides if key not in hydra_cfg.runtime.choices and identifies_variant(key)]
    if "seeds" not in cfg:  # training-free maps that seed nothing only measure a floor
        keys = [key for key in keys if key.split(".")[0] != "training_free"]
    search_path = [word for word in hydra_cfg.overrides.hydra if word.startswith("hydra.searchpath=")]
    base = hydra.compose(str(hydra_cfg.job.config_name), [*search_path, *choices]) if keys else cfg
    for key in keys:
        if overrides[key].is_delete():
            yield f"~{key}"
            continue
        default = dict(leaves(_select(base, key), key))
        for leaf, value in leaves(_select(cfg, key), key):
            if identifies_variant(leaf) and (leaf not in default or value != default[leaf]):
                yield f"{leaf}={_text(value)}"


def _select(cfg: DictConfig, key: str) -> Any:
    node = OmegaConf.select(cfg, key, throw_on_resolution_failure=False)  # a run folder is not known here
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def _text(value: Any) -> str:
    """Return a value as an override has it: `true`, `null`, `[b1,b2]`."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")
