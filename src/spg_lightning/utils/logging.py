"""What the terminal shows."""

import logging
import warnings

from spg_lightning.utils.distributed import is_global_zero


def configure_logging() -> None:
    """Keep Lightning's tips off the terminal; warnings about the user's data and numbers stay."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # the one line that says why, where a process was killed and Lightning ends the others
    logging.getLogger("lightning_fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    if not is_global_zero():  # of several processes one talks; warnings about its own photos every process has
        logging.getLogger("spg_lightning").setLevel(logging.WARNING)
    for said in (
        ".*does not have many workers.*", ".*smaller than the logging interval.*", ".*exists and is not empty.*",
        ".*LeafSpec.*", ".*in eval mode at the start of training.*", ".*could not find the monitored key.*",
        ".*dataloader is not resumable.*",  # the sampler is, see ProcessSampler.fast_forward
        ".*sync_dist=True.*",  # what is logged of an epoch is the same number in all processes
    ):  # fmt: skip
        warnings.filterwarnings("ignore", message=said)
