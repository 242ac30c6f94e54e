"""Backbones kept dense and cut in two. One file a stem; all speak `Stem`."""

from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.efficientnet_lite0 import EfficientNetLite0Stem
from spg_lightning.stems.inception_v3 import InceptionV3Stem

__all__ = ["EfficientNetLite0Stem", "InceptionV3Stem", "Stem", "StemChannels", "StemFeatures"]
