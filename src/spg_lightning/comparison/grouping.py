"""What one run varies, told from its config alone: the choices that depart from `conf/train.yaml`; seeds of a variant meet.

`variants` names runs by what differs between them; a dashboard has to name a run before it knows the others.
"""

from collections.abc import Mapping
from typing import Any

from spg_lightning.comparison.presets import choices, flatten, groups

TOLD = ("guidance", "shared_weights", "fuse", "thresholds", "score_map", "schedule")


def variant(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the method, and each choice of an ablation's group that is not the default.

    Values that no file of the group has are told by key: `{"method": "spg", "thresholds.b1.high": "0.4"}`.

    Args:
        config: of a run, resolved, as its config.yaml holds it.
    """
    parts = {"method": str(config["method"]["name"])}
    for group in TOLD:
        if group not in config:
            continue
        chosen, default = dict(flatten({group: config[group]})), groups()[group]
        changed = {name: _changed(chosen, file) for name, file in choices(group).items()}
        choice = min(changed, key=lambda name: (len(changed[name]), name != default))
        if choice != default:
            parts[group] = choice
        parts |= changed[choice]
    if (frozen := config["module"]["freeze"]) != "none":
        parts["module.freeze"] = frozen
    return parts


def variant_name(parts: Mapping[str, str]) -> str:
    """Return a variant in one line: `spg guidance=direct`."""
    return " ".join([parts["method"], *(f"{key}={value}" for key, value in parts.items() if key != "method")])


def _changed(chosen: dict[str, Any], file: dict[str, Any]) -> dict[str, str]:
    return {key: str(chosen.get(key)) for key in {**file, **chosen} if chosen.get(key) != file.get(key)}
