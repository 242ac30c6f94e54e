"""Compare a run's config with a checkpoint's: whether the run may resume from it, and with which warnings."""

from collections.abc import Iterable
from typing import Any

from spg_lightning.utils.config_keys import NON_IDENTITY_KEYS, leaves

# location, hardware and output of a run: none of these changes what a step computes
IGNORED_KEYS = (
    *NON_IDENTITY_KEYS, "output_dir", "logger", "callbacks", "trainer", "gallery_images", "report_images", "image_rows",
    "eval_checkpoint", "data.num_workers", "data.worker_timeout", "data.eval_batch_size", "dataset.root", "data.reader.root", "module.compile",
    "module.channels_last", "seeds.directory", "min_train_steps",
)  # fmt: skip
# the keys of trainer and callbacks that do
CHECKED_KEYS = (
    "callbacks.ema",
    "callbacks.few_shot",
    *(
        f"trainer.{name}"
        for name in (
            "precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches",
            "limit_val_batches", "check_val_every_n_epoch", "val_check_interval", "sync_batchnorm", "overfit_batches",
            "fast_dev_run",
        )
    ),
)  # fmt: skip
# these keys change the random numbers of dropout; values of checkpoints older than the key
RNG_AFFECTING_DEFAULTS = {"module.compile": False, "module.channels_last": True}
EXTENDABLE_KEYS = ("dataset.max_epochs", "trainer.max_epochs", "trainer.max_steps")


def differences(saved: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Return the changes that forbid resuming, each as `key=value in the checkpoint, value here`."""
    keys = dict(leaves(saved)).keys() | dict(leaves(current)).keys()
    return _changes(saved, current, sorted(key for key in keys if not _may_differ(key)))


def lengths(saved: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Return the changed limits of the training."""
    return _changes(saved, current, EXTENDABLE_KEYS)


def rng_affecting_changes(saved: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Return the changes that let a run resume, but with other random numbers than the uninterrupted run's."""
    return _changes(saved, current, RNG_AFFECTING_DEFAULTS, RNG_AFFECTING_DEFAULTS)


def exceeded_limit(config: dict[str, Any], epochs: int, steps: int) -> str:
    """Return the limit that a run has exceeded as `key=value`, or an empty string.

    Args:
        config: with the limits.
        epochs: begun so far.
        steps: completed so far.
    """
    for name, done in (("max_epochs", epochs), ("max_steps", steps)):
        limit = config["trainer"].get(name)
        if limit not in (None, -1) and done > limit:
            return f"trainer.{name}={limit}"
    return ""


def _changes(
    saved: dict[str, Any], current: dict[str, Any], keys: Iterable[str], defaults: dict[str, Any] | None = None
) -> list[str]:
    old, new = ({**(defaults or {}), **dict(leaves(config))} for config in (saved, current))
    return [
        f"{key}={old.get(key)} in the checkpoint, {new.get(key)} here" for key in keys if old.get(key) != new.get(key)
    ]


def _may_differ(key: str) -> bool:
    ignored = any(key == name or key.startswith(f"{name}.") for name in IGNORED_KEYS)
    return key in EXTENDABLE_KEYS or (ignored and not key.startswith(CHECKED_KEYS))
