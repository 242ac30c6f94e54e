"""The paper: network, guidance, losses and score maps. Knows nothing of Lightning or Hydra."""

from spg_lightning.spg.guidance import (
    BACKGROUND,
    FOREGROUND,
    IGNORED,
    Band,
    Thresholds,
    cascade,
    direct,
    mask_shares,
    ternary_mask,
)
from spg_lightning.spg.losses import guidance_masks, masked_bce, masks_of, spg_loss, upsampled_bce
from spg_lightning.spg.network import SPGNetwork, SPGOutput
from spg_lightning.spg.score_maps import attention

__all__ = [
    "BACKGROUND",
    "FOREGROUND",
    "IGNORED",
    "Band",
    "SPGNetwork",
    "SPGOutput",
    "Thresholds",
    "attention",
    "cascade",
    "direct",
    "guidance_masks",
    "mask_shares",
    "masked_bce",
    "masks_of",
    "spg_loss",
    "ternary_mask",
    "upsampled_bce",
]
