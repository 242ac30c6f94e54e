"""Loggers beyond Lightning's own."""

import netrc
import os
from typing import Any

from pytorch_lightning.loggers import WandbLogger


def wandb_logger(offline: bool | None, **kwargs: Any) -> WandbLogger:
    """Return a Weights & Biases logger; where `offline` is None, off line unless a key is found."""
    return WandbLogger(offline=not has_wandb_key() if offline is None else offline, **kwargs)


def has_wandb_key() -> bool:
    """Tell whether a key for api.wandb.ai is in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_MODE") == "offline":
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
