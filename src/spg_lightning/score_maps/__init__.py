"""Every way to localize with a network: one file a family, registered by name."""

from spg_lightning.score_maps.attention import Attention
from spg_lightning.score_maps.branches import B1, B2, C, Fused
from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext, score_map_context
from spg_lightning.score_maps.grad_cam import GradCAM
from spg_lightning.score_maps.grad_cam_plus_plus import GradCAMPlusPlus
from spg_lightning.score_maps.input_gradient import InputGradient
from spg_lightning.score_maps.layer_cam import LayerCAM
from spg_lightning.score_maps.registry import SCORE_MAPS, register, resolve, supported
from spg_lightning.score_maps.score_cam import ScoreCAM

__all__ = [
    "B1",
    "B2",
    "SCORE_MAPS",
    "Attention",
    "C",
    "Fused",
    "GradCAM",
    "GradCAMPlusPlus",
    "InputGradient",
    "LayerCAM",
    "ScoreCAM",
    "ScoreMap",
    "ScoreMapContext",
    "register",
    "resolve",
    "score_map_context",
    "supported",
]
