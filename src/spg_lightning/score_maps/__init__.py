"""Every way to localize with a network: one file a family, registered by name."""

from spg_lightning.score_maps.attention import Attention
from spg_lightning.score_maps.bag_cams import BagCAMs
from spg_lightning.score_maps.branches import B1, B2, C, Fused
from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext, score_map_context
from spg_lightning.score_maps.feature_norm import FeatureNorm
from spg_lightning.score_maps.feature_pca import FeaturePCA
from spg_lightning.score_maps.grad_cam import GradCAM
from spg_lightning.score_maps.grad_cam_plus_plus import GradCAMPlusPlus
from spg_lightning.score_maps.guided_filter import GuidedFilter
from spg_lightning.score_maps.input_gradient import InputGradient
from spg_lightning.score_maps.layer_cam import LayerCAM
from spg_lightning.score_maps.mean import Mean
from spg_lightning.score_maps.normalization import IVR, Max, MinMax, PaS, Percentile
from spg_lightning.score_maps.pamr import PAMR
from spg_lightning.score_maps.pretrained_cam import PretrainedCAM
from spg_lightning.score_maps.refinement import Refinement
from spg_lightning.score_maps.registry import SCORE_MAPS, processed, register, resolve, supported
from spg_lightning.score_maps.score_cam import ScoreCAM
from spg_lightning.score_maps.training_free import TrainingFreeMap
from spg_lightning.score_maps.views import Views

__all__ = [
    "B1",
    "B2",
    "IVR",
    "PAMR",
    "SCORE_MAPS",
    "Attention",
    "BagCAMs",
    "C",
    "FeatureNorm",
    "FeaturePCA",
    "Fused",
    "GradCAM",
    "GradCAMPlusPlus",
    "GuidedFilter",
    "InputGradient",
    "LayerCAM",
    "Max",
    "Mean",
    "MinMax",
    "PaS",
    "Percentile",
    "PretrainedCAM",
    "Refinement",
    "ScoreCAM",
    "ScoreMap",
    "ScoreMapContext",
    "TrainingFreeMap",
    "Views",
    "processed",
    "register",
    "resolve",
    "score_map_context",
    "supported",
]
