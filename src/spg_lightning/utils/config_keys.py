"""Keys of a config, and those that do not tell two runs apart."""

from collections.abc import Iterator
from typing import Any

# how a run is made and watched: comparisons of configs ignore them
NON_IDENTITY_KEYS = (
    "debug", "resume", "overwrite", "trust", "variant", "checkpoint_every_steps", "keep_resume_state", "keep_checkpoints",
    "objective", "launcher", "hydra",
)  # fmt: skip

# location, hardware, seed and output of a run: runs that differ in nothing else are repetitions of one variant
IGNORED_IN_VARIANT = (
    *NON_IDENTITY_KEYS, "seed", "data.seed", "output_dir", "logger", "gallery_images", "report_images", "image_rows",
    "sweep", "tuned", "callbacks.progress", "callbacks.learning_rate", "callbacks.throughput", "data.num_workers", "data.worker_timeout",
    "data.eval_batch_size", "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
    "trainer.benchmark", "trainer.log_every_n_steps", "trainer.enable_progress_bar", "trainer.enable_model_summary",
)  # fmt: skip
IGNORED_NAMES = ("root", "dirpath", "save_dir", "default_root_dir", "directory")


def identifies_variant(key: str) -> bool:
    """Return whether runs with different values of a dotted key are different variants."""
    ignored = any(key == name or key.startswith(f"{name}.") for name in IGNORED_IN_VARIANT)
    return not ignored and key.rsplit(".", 1)[-1] not in IGNORED_NAMES


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a plain config that hold no further keys, with their values."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node
