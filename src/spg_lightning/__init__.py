"""Self-produced Guidance (SPG, ECCV 2018) for weakly supervised object localization.

The verbs as plain functions, and the parts they are made of; each is imported when it is first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spg_lightning.benchmarking import Benchmark, benchmark
    from spg_lightning.build import build_data, build_module, build_network, build_trainer, load_network
    from spg_lightning.checkpoints import import_published
    from spg_lightning.cli import compose
    from spg_lightning.conversion import convert
    from spg_lightning.data import (
        PhotoDataset,
        Records,
        read_benchmark,
        read_benchmark_parts,
        read_cub,
        read_folder,
        read_ilsvrc,
        read_toybirds,
    )
    from spg_lightning.datamodule import PhotoDataModule
    from spg_lightning.errors import UserError
    from spg_lightning.evaluation import evaluate
    from spg_lightning.localization import LocalizationMetric, floors, scan
    from spg_lightning.module import SPGModule
    from spg_lightning.prediction import Prediction, predict
    from spg_lightning.preparation import Prepared, prepare
    from spg_lightning.results import Evaluation
    from spg_lightning.spg import SPGNetwork, SPGOutput, Thresholds, spg_loss
    from spg_lightning.stems import EfficientNetLite0Stem, InceptionV3Stem, ResNet50Stem, Stem, TimmStem, VGG16Stem
    from spg_lightning.study import Report, report
    from spg_lightning.training import TrainResult, train

_HOME = {
    "benchmarking": ("Benchmark", "benchmark"),
    "build": ("build_data", "build_module", "build_network", "build_trainer", "load_network"),
    "checkpoints": ("import_published",),
    "cli": ("compose",),
    "conversion": ("convert",),
    "data": (
        "PhotoDataset",
        "Records",
        "read_benchmark",
        "read_benchmark_parts",
        "read_cub",
        "read_folder",
        "read_ilsvrc",
        "read_toybirds",
    ),
    "datamodule": ("PhotoDataModule",),
    "errors": ("UserError",),
    "evaluation": ("evaluate",),
    "localization": ("LocalizationMetric", "floors", "scan"),
    "module": ("SPGModule",),
    "prediction": ("Prediction", "predict"),
    "preparation": ("Prepared", "prepare"),
    "results": ("Evaluation",),
    "spg": ("SPGNetwork", "SPGOutput", "Thresholds", "spg_loss"),
    "stems": ("EfficientNetLite0Stem", "InceptionV3Stem", "ResNet50Stem", "Stem", "TimmStem", "VGG16Stem"),
    "study": ("Report", "report"),
    "training": ("TrainResult", "train"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Benchmark",
    "EfficientNetLite0Stem",
    "Evaluation",
    "InceptionV3Stem",
    "LocalizationMetric",
    "PhotoDataModule",
    "PhotoDataset",
    "Prediction",
    "Prepared",
    "Records",
    "Report",
    "ResNet50Stem",
    "SPGModule",
    "SPGNetwork",
    "SPGOutput",
    "Stem",
    "Thresholds",
    "TimmStem",
    "TrainResult",
    "UserError",
    "VGG16Stem",
    "benchmark",
    "build_data",
    "build_module",
    "build_network",
    "build_trainer",
    "compose",
    "convert",
    "evaluate",
    "floors",
    "import_published",
    "load_network",
    "predict",
    "prepare",
    "read_benchmark",
    "read_benchmark_parts",
    "read_cub",
    "read_folder",
    "read_ilsvrc",
    "read_toybirds",
    "report",
    "scan",
    "spg_loss",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


class _Package(ModuleType):
    """Keeps the verbs functions: importing the module `spg_lightning.train` must not put it in the function's place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
