"""From a config to the objects of a run."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.loggers import Logger
from torch import Tensor

from spg_lightning.callbacks.progress_bar import ProgressBar
from spg_lightning.checkpoints.metadata import read_checkpoint
from spg_lightning.checkpoints.rebuild import (
    PROCESSING,
    build_processed_maps,
    build_score_maps,
    use_stem_of_checkpoint,
)
from spg_lightning.checkpoints.trainer_io import AtomicCheckpointIO
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError, find_user_error, first_line
from spg_lightning.evaluation.cached_maps import TrainingFreeMaps
from spg_lightning.localizer import Localizer
from spg_lightning.module import SPGModule
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.utils.device import has_native_bf16
from spg_lightning.utils.distributed import torchrun_world_size
from spg_lightning.utils.instantiate import check_arguments, instantiate_node
from spg_lightning.utils.sync_batchnorm import SyncBatchNorm

log = logging.getLogger(__name__)
EXTRAS = {
    "pytorch_lightning.loggers.TensorBoardLogger": "tensorboard",
    "pytorch_lightning.loggers.MLFlowLogger": "mlflow",
}  # loggers -> the optional extra that they need
MAX_WORKERS = 16  # loader processes a GPU that `auto` starts


def build_data(cfg: DictConfig) -> ImageDataModule:
    """Return the data module of a run."""
    data = instantiate_node(cfg.data, num_workers=num_workers_of(cfg))
    assert isinstance(data, ImageDataModule)
    if isinstance(data.reader, partial):
        check_arguments(data.reader, "dataset.reader")
    return data


def build_network(cfg: DictConfig, num_classes: int) -> SPGNetwork:
    """Return the network of a run."""
    network = instantiate_node(cfg.method.network, num_classes=num_classes)
    assert isinstance(network, SPGNetwork)
    return network


def build_localizer(cfg: DictConfig) -> Localizer:
    """Return the localizer of `cfg.checkpoint`, on the CPU, with what the command chooses otherwise.

    Raises:
        UserError: see `Localizer.from_checkpoint`.
    """
    own = cfg.get("score_map") or OmegaConf.create()
    if own.get("maps"):
        use_stem_of_checkpoint(cfg, read_checkpoint(cfg.checkpoint)[0])
    # auto: the map that val chose, which the checkpoint stores
    name = None if own.get("name") in (None, "auto") else str(own.name)
    processing = {key: OmegaConf.to_container(cfg[key]) for key in PROCESSING if cfg.get(key)}
    extra = build_score_maps(own.get("maps") or {})
    return Localizer.from_checkpoint(cfg.checkpoint, name, cfg.threshold, cfg.trust, extra, processing)


def build_module(
    cfg: DictConfig, network: SPGNetwork, states: Mapping[str, dict[str, Tensor]] | None = None
) -> SPGModule:
    """Return the LightningModule of a run around its network.

    Args:
        cfg: of the run.
        network: of the run.
        states: what the score maps learnt from the training images, by name.
    """
    name = cfg.score_map.name
    names = name if isinstance(name, str) else list(name)
    own = build_score_maps(cfg.score_map.get("maps") or {}, states)
    maps = build_processed_maps(names, network.branches, own, cfg)
    # bound first: finished objects must not be merged into a config, as keyword arguments of `instantiate` are
    module = instantiate_node(cfg.module, _partial_=True)(network=network, score_maps=maps)
    assert isinstance(module, SPGModule)
    return module


def build_training_free(cfg: DictConfig) -> TrainingFreeMaps | None:
    """Return the training-free maps of a run, None for a backbone without pretrained weights at hand.

    Raises:
        UserError: there are none, and they are to seed the guidance.
    """
    is_needed, is_asked = cfg.get("seeds") is not None, "_target_" in (cfg.get("training_free") or {})
    weights = OmegaConf.select(cfg, "stem.pretrained.weights", default=None)
    if is_needed and not is_asked:
        raise UserError("guidance=seeded needs training-free maps; choose training_free=default")
    if is_needed and weights is None:
        raise UserError(f"guidance=seeded needs stem.pretrained, which stem={cfg.stem.name} does not have")
    if not is_needed and (not is_asked or weights in (None, "none")):
        return None
    try:
        maps = instantiate_node(cfg.training_free)
    except UserError as error:
        if is_needed:
            raise
        log.warning("no training-free baseline: %s", error)
        return None
    assert isinstance(maps, TrainingFreeMaps)
    return maps


def build_trainer(cfg: DictConfig, extra_callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return the trainer with its callbacks and logger; entries of `callbacks` that are null are left out.

    The extra callbacks come first: they save and check a step before the config's callbacks act.
    """
    _require_accelerator(str(cfg.trainer.accelerator), "trainer.accelerator")
    callbacks = [instantiate_node(node) for node in cfg.callbacks.values() if node is not None]
    # bound first: a finished logger must not be merged into a config, as keyword arguments of `instantiate` are
    make_trainer = instantiate_node(
        _without_static_graph(cfg.trainer), _partial_=True, precision=precision_of(cfg.trainer)
    )
    plugins = [AtomicCheckpointIO(), *(instantiate_node(cfg.trainer.get("plugins")) or ())]
    if cfg.trainer.get("sync_batchnorm"):
        plugins.append(SyncBatchNorm())
    others = {}
    if not any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks):
        others["enable_progress_bar"] = False  # callbacks.progress=null: Lightning would take one of its own
    logger = build_logger(cfg.logger)
    with _user_errors():
        trainer = make_trainer(
            callbacks=[*extra_callbacks, *callbacks], logger=logger, plugins=plugins, **others
        )  # fmt: skip
    assert isinstance(trainer, pl.Trainer)
    _check_processes(trainer, bool(cfg.trainer.get("sync_batchnorm")))
    if trainer.is_global_zero:
        _warn(trainer, bool(cfg.module.compile and cfg.trainer.get("sync_batchnorm")))
    return trainer


def build_logger(node: DictConfig) -> Logger:
    """Return the logger of a config node.

    Raises:
        UserError: an optional package is not installed.
    """
    extra = EXTRAS.get(str(node._target_))
    try:
        return instantiate_node(node)
    except UserError as error:
        cause = error.__cause__ and error.__cause__.__cause__  # below Hydra's own error
        if extra is None or not isinstance(cause, ModuleNotFoundError):
            raise
        raise UserError(f"logger={extra} needs {extra}: pip install 'spg-lightning[{extra}]'") from error


def build_evaluator(cfg: DictConfig, folder: Path) -> pl.Trainer:
    """Return a trainer that evaluates alone, on one device: `cfg.accelerator`, in `cfg.precision`."""
    _require_accelerator(str(cfg.accelerator), "accelerator")
    with _user_errors():
        return pl.Trainer(
            accelerator=cfg.accelerator, precision=precision_of(cfg), devices=1, logger=False, enable_checkpointing=False,  # type: ignore[arg-type]
            enable_model_summary=False, use_distributed_sampler=False, default_root_dir=folder,
            callbacks=[ProgressBar(leave=False)],
        )  # fmt: skip


def _require_accelerator(accelerator: str, key: str) -> None:
    if accelerator in ("gpu", "cuda") and not torch.accelerator.is_available():
        raise UserError(f"{key}={accelerator}: torch sees no GPU here; choose {key}=cpu, or auto")


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except (MisconfigurationException, ValueError) as error:  # Lightning's word for an impossible combination
        raise find_user_error(error) or UserError(f"trainer: {first_line(error)}") from error


def _warn(trainer: pl.Trainer, compiled_sync_batchnorm: bool) -> None:
    """Tell what will be slow."""
    device, precision = trainer.strategy.root_device, str(trainer.precision)
    native = has_native_bf16(device)
    if "bf16" in precision and not native:
        log.warning(
            "trainer.precision=%s: this %s has no instructions for bfloat16 and may be many times slower in it than in 32-true",
            precision, device.type.upper(),
        )  # fmt: skip
    if precision == "32-true" and native and device.type == "cuda":
        log.info("trained in float32; trainer=gpu takes bfloat16, in which this GPU multiplies twice as fast")
    if compiled_sync_batchnorm:
        log.warning(
            "trainer.sync_batchnorm=true with module.compile=true: torch compiles in pieces between these layers"
        )


def _without_static_graph(trainer: DictConfig) -> DictConfig:
    """Return the trainer's config for accumulating gradients, if it does: torch's DDP fails then with a static graph.

    Without one it has to search for unused parameters: those that only SPG's branches read, in the other methods.
    """
    strategy = trainer.get("strategy")
    if (
        trainer.get("accumulate_grad_batches", 1) == 1
        or not OmegaConf.is_dict(strategy)
        or "static_graph" not in strategy
    ):
        return trainer
    trainer = trainer.copy()
    trainer.strategy.static_graph, trainer.strategy.find_unused_parameters = False, True
    return trainer


def precision_of(trainer: DictConfig) -> str:
    """Return what `precision=auto` beside an `accelerator` means here: bfloat16 on a device that multiplies in it, else float32."""
    if trainer.precision != "auto":
        return str(trainer.precision)
    return "bf16-mixed" if has_native_bf16(_device(trainer)) else "32-true"


def num_workers_of(cfg: DictConfig) -> int:
    """Return what `data.num_workers=auto` means here: a process's share of the cores where GPUs train, else one."""
    if cfg.data.num_workers != "auto":
        return int(cfg.data.num_workers)
    if _device(cfg.trainer).type != "cuda":
        return 1
    devices = cfg.trainer.devices
    if OmegaConf.is_list(devices):
        processes = len(devices)
    else:
        processes = int(devices) if str(devices).isdecimal() else torch.cuda.device_count()
    return max(1, min(len(os.sched_getaffinity(0)) // max(processes, 1), MAX_WORKERS))


def _device(trainer: DictConfig) -> torch.device:
    """Return the kind of device that the trainer will take."""
    name = str(trainer.accelerator)
    if name in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu" if name == "cpu" or (name == "auto" and not torch.accelerator.is_available()) else "mps")


def _check_processes(trainer: pl.Trainer, sync_batchnorm: bool) -> None:
    if (started := torchrun_world_size()) not in (0, trainer.world_size):
        raise UserError(
            f"torchrun started {started} processes, the config has {trainer.world_size}: "
            f"set trainer=ddp trainer.devices=<processes a machine> trainer.num_nodes=<machines>, {started} in all"
        )
    if sync_batchnorm and trainer.world_size > 1 and isinstance(trainer.accelerator, CPUAccelerator):
        raise UserError("trainer.sync_batchnorm=true: torch has it on GPUs alone; leave it out on the CPU")
