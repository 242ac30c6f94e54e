"""Which keys of the configs tell runs apart, and how to write them."""

from collections.abc import Sequence
from typing import Any

from spg_lightning.comparison.presets import choices, defaults, groups, refers, text_of
from spg_lightning.comparison.runs import Run
from spg_lightning.utils.config_keys import NON_IDENTITY_KEYS

# where a run was made, written and watched, not what it computes
IGNORED = (
    *NON_IDENTITY_KEYS, "seed", "data.seed", "logger", "output_dir", "gallery_images", "report_images",
    "callbacks.progress", "callbacks.learning_rate", "trainer.accelerator", "trainer.strategy",
    "trainer.log_every_n_steps", "trainer.enable_progress_bar", "trainer.enable_model_summary",
)  # fmt: skip
IGNORED_ENDS = ("root", "dirpath", "save_dir", "default_root_dir", "num_workers", "worker_timeout", "eval_batch_size")


def named(config: dict[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    """Put a group's choice in the place of its keys, where that says more: not for one or two numbers that differ."""
    given = dict(config)
    for group in groups():
        keys = {key for run in runs for key in run.config if key.startswith(f"{group}.")}
        differing = [key for key in keys if len({run.config.get(key) for run in runs}) > 1]
        numeric = all(is_number(run.config.get(key)) for key in differing for run in runs)
        if not differing or (numeric and len(differing) <= 2) or not all(choice_of(group, run.config) for run in runs):
            continue
        given = {key: value for key, value in given.items() if key not in keys} | {group: choice_of(group, config)}
    return given


def varying(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys that tell the runs apart, without those that only follow from others."""
    keys = [key for key in dict.fromkeys(key for config in configs for key in config) if not _ignored(key)]
    keys = [key for key in keys if len({value_of(config, key) for config in configs}) > 1]
    names = [key for key in keys if shown(key) in groups()]
    written = [key for key in keys if key not in names and not refers(key)]
    kept = list(names)
    for key in written:
        group = key.split(".")[0]
        if not any(shown(name) == group for name in names) or not _follows(key, names, configs):
            kept.append(key)
    for key in keys:
        if key not in kept and key not in written and not _follows(key, kept, configs):
            kept.append(key)
    return sorted(kept, key=_place)  # not the order in which the runs were found


def _follows(key: str, others: Sequence[str], configs: Sequence[dict[str, Any]]) -> bool:
    """Tell whether the others' values determine the key's value, in all the runs."""
    seen = {tuple(value_of(config, name) for name in [*others, key]) for config in configs}
    return len(seen) == len({values[:-1] for values in seen})


def _place(key: str) -> tuple[int, bool, str]:
    """Order keys as the groups of `train`, a group's choice before the keys in it."""
    order, group = list(groups()), key.split(".")[0]
    return order.index(group) if group in order else len(order), shown(key) != group, key


def _ignored(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in IGNORED) or key.split(".")[-1] in IGNORED_ENDS


def value_of(config: dict[str, Any], key: str) -> Any:
    """Return a value; where the run was made before the key was, the default."""
    return config[key] if key in config else defaults().get(key)


def default_of(key: str) -> Any:
    """Return what a key is by default; ... where that is not written down, as it follows from others."""
    return groups().get(key) if key in groups() else defaults().get(key, ...)


def shown(key: str) -> str:
    """Return a key as one would override it: a group's name or target is the group's choice."""
    group, _, last = key.partition(".")
    return group if last in ("name", "_target_") else key


def shown_value(key: str, value: Any) -> str:
    return text_of(value).rsplit(".", 1)[-1] if key.endswith("._target_") else text_of(value)


def choice_of(group: str, config: dict[str, Any]) -> str | None:
    """Return the name of the group's choice that a config has, where it has one exactly."""
    prefix = f"{group}."
    node = {key: value for key, value in config.items() if key.startswith(prefix)}
    return next((name for name, keys in choices(group).items() if keys == node), None)


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
