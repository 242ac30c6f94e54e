"""The public API, in one place: `__init__.py` reads this file and imports each name on first use."""

from .checkpoints.published import import_published
from .checkpoints.rebuild import load_network
from .comparison.compare import Comparison
from .config.build import build_data, build_module, build_network, build_trainer
from .config.compose import compose
from .convert import convert
from .data.images import ImageDataset
from .data.readers.assemble import build_records
from .data.readers.benchmark import read_benchmark_parts
from .data.readers.benchmark_metadata import read_benchmark
from .data.readers.cub import read_cub
from .data.readers.folder import read_folder
from .data.readers.ilsvrc import read_ilsvrc
from .data.readers.toybirds import read_toybirds
from .data.records import Records, Splits
from .datamodule import ImageDataModule
from .errors import UserError
from .evaluate import evaluate
from .evaluation.results import Evaluation
from .export import export
from .localization.confidence import Confidence
from .localization.metrics import LocalizationMetric
from .localization.naive_baselines import naive_baselines
from .localization.regions import Region, find_regions
from .localization.threshold_scan import scan_thresholds
from .localizer import Localization, Localizer
from .module import SPGModule
from .predict import predict
from .predicting.result_files import Predictions
from .predicting.rows import ImageRow, Prediction
from .prepare import Prepared, prepare
from .push import push
from .report import report
from .score_maps.context import ScoreMap
from .spg.guidance import Thresholds
from .spg.losses import SPGLoss, spg_loss
from .spg.network import SPGNetwork, SPGOutput
from .stems.base import Stem
from .stems.efficientnet_lite0 import EfficientNetLite0Stem
from .stems.inception_v3 import InceptionV3Stem
from .stems.resnet50 import ResNet50Stem
from .stems.timm_stem import TimmStem
from .stems.vgg16 import VGG16Stem
from .train import TrainResult, train

__all__ = [
    "Comparison",
    "Confidence",
    "EfficientNetLite0Stem",
    "Evaluation",
    "ImageDataModule",
    "ImageDataset",
    "ImageRow",
    "InceptionV3Stem",
    "Localization",
    "LocalizationMetric",
    "Localizer",
    "Prediction",
    "Predictions",
    "Prepared",
    "Records",
    "Region",
    "ResNet50Stem",
    "SPGLoss",
    "SPGModule",
    "SPGNetwork",
    "SPGOutput",
    "ScoreMap",
    "Splits",
    "Stem",
    "Thresholds",
    "TimmStem",
    "TrainResult",
    "UserError",
    "VGG16Stem",
    "build_data",
    "build_module",
    "build_network",
    "build_records",
    "build_trainer",
    "compose",
    "convert",
    "evaluate",
    "export",
    "find_regions",
    "import_published",
    "load_network",
    "naive_baselines",
    "predict",
    "prepare",
    "push",
    "read_benchmark",
    "read_benchmark_parts",
    "read_cub",
    "read_folder",
    "read_ilsvrc",
    "read_toybirds",
    "report",
    "scan_thresholds",
    "spg_loss",
    "train",
]
