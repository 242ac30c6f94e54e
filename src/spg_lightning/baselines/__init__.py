"""What SPG is compared with. One file a method; each trains in SPG's harness, on any stem."""

from spg_lightning.baselines.acol import ACoLNetwork, acol_step
from spg_lightning.baselines.adl import ADLNetwork, AttentionDropout
from spg_lightning.baselines.cutmix import cutmix_step
from spg_lightning.baselines.has import has_step, hide_patches
from spg_lightning.spg.training_step import standard_step

__all__ = [
    "ACoLNetwork",
    "ADLNetwork",
    "AttentionDropout",
    "acol_step",
    "cutmix_step",
    "has_step",
    "hide_patches",
    "standard_step",
]
