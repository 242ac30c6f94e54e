"""What the terminal shows."""

import logging
import warnings


def quiet_lightning() -> None:
    """Keep Lightning's tips off the terminal; warnings about the user's data and numbers stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for said in (
        ".*does not have many workers.*", ".*smaller than the logging interval.*", ".*exists and is not empty.*",
        ".*LeafSpec.*", ".*in eval mode at the start of training.*", ".*could not find the monitored key.*",
    ):  # fmt: skip
        warnings.filterwarnings("ignore", message=said)
