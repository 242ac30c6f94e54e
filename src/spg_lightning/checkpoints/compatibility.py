"""Whether a run may go on with a checkpoint: what tells two configs apart, and what may differ."""

from collections.abc import Iterator
from typing import Any

from spg_lightning.utils.config_keys import NON_IDENTITY_KEYS

# where and on what a run is made, what is written beside it: none of it changes what a step computes
IGNORED_KEYS = (
    *NON_IDENTITY_KEYS, "output_dir", "logger", "callbacks", "trainer", "gallery_images", "report_images", "eval_checkpoint",
    "data.num_workers", "data.worker_timeout",
    "data.eval_batch_size", "dataset.root", "data.reader.root", "module.compile", "module.channels_last",
)  # fmt: skip
# of the trainer's and the callbacks' keys those that do
CHECKED_KEYS = (
    "callbacks.ema",
    *(
        f"trainer.{name}"
        for name in (
            "precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches",
            "limit_val_batches", "check_val_every_n_epoch", "val_check_interval", "sync_batchnorm", "overfit_batches",
            "fast_dev_run",
        )
    ),
)  # fmt: skip
# on or off: other random numbers for dropout; as they are in checkpoints from before the key
RNG_AFFECTING_DEFAULTS = {"module.compile": False, "module.channels_last": True}
EXTENDABLE_KEYS = ("dataset.max_epochs", "trainer.max_epochs", "trainer.max_steps")  # a run may be made longer


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a plain config that hold no further ones, with their values."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Return, as `key=value there, value here`, what forbids that a run goes on with a checkpoint of another config."""
    one, other = dict(leaves(there)), dict(leaves(here))
    return [
        _said(key, one, other)
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and not _may_differ(key)
    ]


def lengths(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Return which limits of the training differ."""
    one, other = dict(leaves(there)), dict(leaves(here))
    return [_said(key, one, other) for key in EXTENDABLE_KEYS if one.get(key) != other.get(key)]


def exceeded_limit(config: dict[str, Any], epochs: int, steps: int) -> str:
    """Return, as `key=value`, the limit that a run has already gone beyond; nothing where it may go on, or has just ended.

    Args:
        config: whose limits.
        epochs: that were begun.
        steps: that were made.
    """
    for name, made in (("max_epochs", epochs), ("max_steps", steps)):
        limit = config["trainer"].get(name)
        if limit not in (None, -1) and made > limit:
            return f"trainer.{name}={limit}"
    return ""


def rng_affecting_changes(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Return what lets a run go on well, but with other random numbers than the run that did not stop."""
    one, other = dict(leaves(there)), dict(leaves(here))
    return [
        _said(key, RNG_AFFECTING_DEFAULTS | one, RNG_AFFECTING_DEFAULTS | other)
        for key, default in RNG_AFFECTING_DEFAULTS.items()
        if one.get(key, default) != other.get(key, default)
    ]


def _said(key: str, there: dict[str, Any], here: dict[str, Any]) -> str:
    return f"{key}={there.get(key)} there, {here.get(key)} here"


def _may_differ(key: str) -> bool:
    free = any(key == name or key.startswith(f"{name}.") for name in IGNORED_KEYS)
    return key in EXTENDABLE_KEYS or (free and not key.startswith(CHECKED_KEYS))
