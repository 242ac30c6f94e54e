"""Logging to the terminal."""

import logging
import warnings

from spg_lightning.utils.distributed import is_global_zero


def configure_logging() -> None:
    """Let one process report, and each warn of its own images."""
    if not is_global_zero():
        logging.getLogger("spg_lightning").setLevel(logging.WARNING)


def hide_lightning_tips() -> None:
    """Hide Lightning's tips; keep warnings about the user's data and numbers.

    To be called after the import of Lightning, which sets the levels of its loggers.
    """
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # the one line that explains why Lightning ends the other processes of a killed one
    logging.getLogger("lightning_fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    for pattern in (
        ".*does not have many workers.*", ".*smaller than the logging interval.*", ".*exists and is not empty.*",
        ".*LeafSpec.*", ".*in eval mode at the start of training.*", ".*could not find the monitored key.*",
        ".*dataloader is not resumable.*",  # the sampler is, see ProcessSampler.fast_forward
        ".*sync_dist=True.*",  # epoch metrics are equal in all processes
    ):  # fmt: skip
        warnings.filterwarnings("ignore", message=pattern)
