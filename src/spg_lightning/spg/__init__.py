"""The paper: network, guidance, losses and score maps. Independent of Lightning and Hydra."""

from spg_lightning.spg.guidance import (
    BACKGROUND,
    FOREGROUND,
    IGNORED,
    ThresholdPair,
    Thresholds,
    cascade,
    direct,
    mask_fractions,
    seeded,
    ternary_mask,
)
from spg_lightning.spg.losses import SPGLoss, guidance_masks, masked_bce, masks_from_loss, spg_loss, upsampled_bce
from spg_lightning.spg.maps import attention
from spg_lightning.spg.network import SPGNetwork, SPGOutput

__all__ = [
    "BACKGROUND",
    "FOREGROUND",
    "IGNORED",
    "SPGLoss",
    "SPGNetwork",
    "SPGOutput",
    "ThresholdPair",
    "Thresholds",
    "attention",
    "cascade",
    "direct",
    "guidance_masks",
    "mask_fractions",
    "masked_bce",
    "masks_from_loss",
    "seeded",
    "spg_loss",
    "ternary_mask",
    "upsampled_bce",
]
