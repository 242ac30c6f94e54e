"""Config keys and values that have a new name: an old one gives one line with the new one."""

RENAMED_KEYS = {
    "evaluate_weights": "eval_checkpoint",
    "data.on_broken": "data.on_corrupt_image",
    "data.val_share": "data.val_fraction",
    "dataset.val_share": "dataset.val_fraction",
    "dataset.reader.shares": "dataset.reader.fractions",
    "dataset.reader.upright": "dataset.reader.apply_exif_orientation",
    "schedule.warmup_share": "schedule.warmup_fraction",
    "method.network.b2_tap": "method.network.b2_input",
    "stem.b2_tap": "stem.b2_input",
    "logger.patience": "logger.timeouts",
    "module.loss.thresholds": "thresholds",
    "module.loss.guidance": "guidance",
    "module.score_map": "score_map.name",
}
REMOVED_KEYS = {
    "hydra.sweeper.storage": "the study is study.log in output_dir",
    "hydra.sweeper.study_name": "the study is study.log in output_dir",
    "hydra.sweeper.max_failure_rate": "a failed trial does not end a search",
}
RENAMED_VALUES = {"a2_previous": "a2_penultimate"}  # of stem.b2_input


def renamed(key: str, value: str) -> str:
    """Return the line for an override with an old key or value, or an empty string."""
    for old, new in RENAMED_KEYS.items():
        if key == old or key.startswith(f"{old}."):
            return f"{key} is now called {new}{key.removeprefix(old)}"
    if key in REMOVED_KEYS:
        return f"{key} is gone: {REMOVED_KEYS[key]}"
    if value in RENAMED_VALUES:
        return f"{key}={value} is now called {RENAMED_VALUES[value]}"
    return ""
