"""Backbones kept dense and cut in two. One file per stem; all implement `Stem`."""

from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.efficientnet_lite0 import EfficientNetLite0Stem
from spg_lightning.stems.inception_v3 import InceptionV3Stem
from spg_lightning.stems.pretrained import PretrainedClassifier, pretrained_classifier
from spg_lightning.stems.resnet50 import ResNet50Stem
from spg_lightning.stems.timm_stem import TimmStem
from spg_lightning.stems.vgg16 import VGG16Stem

__all__ = [
    "EfficientNetLite0Stem",
    "InceptionV3Stem",
    "PretrainedClassifier",
    "ResNet50Stem",
    "Stem",
    "StemChannels",
    "StemFeatures",
    "TimmStem",
    "VGG16Stem",
    "pretrained_classifier",
]
