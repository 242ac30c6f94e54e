"""From a config to objects: the only place that instantiates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator

from spg_lightning.checkpoints.store import Description, read_checkpoint
from spg_lightning.datamodule import PhotoDataModule
from spg_lightning.errors import UserError, find_user_error, first_line
from spg_lightning.module import SPGModule
from spg_lightning.processes import started_by_torchrun
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.sync_batchnorm import SyncBatchNorm

TRUSTED = ("spg_lightning.",)  # what a checkpoint's config may construct


def make(node: Any, **kwargs: Any) -> Any:
    """Instantiate a config node, with plain Python containers in it.

    Raises:
        UserError: a constructor refused its arguments.
    """
    try:
        return instantiate(node, _convert_="all", **kwargs)
    except InstantiationException as error:
        raise find_user_error(error) or UserError(_short(error)) from error


def _short(error: InstantiationException) -> str:
    cause = error.__cause__
    key = str(error).rsplit("full_key:", 1)[-1].strip() if "full_key:" in str(error) else "config"
    return f"{key}: {first_line(cause if cause else error)}"


def build_data(cfg: DictConfig) -> PhotoDataModule:
    """Return the data module of a run."""
    data = make(cfg.data)
    assert isinstance(data, PhotoDataModule)
    return data


def build_network(cfg: DictConfig, num_classes: int) -> SPGNetwork:
    """Return the network of a run."""
    network = make(cfg.method.network, num_classes=num_classes)
    assert isinstance(network, SPGNetwork)
    return network


def build_module(cfg: DictConfig, network: SPGNetwork) -> SPGModule:
    """Return the LightningModule of a run around its network."""
    module = make(cfg.module, network=network)
    assert isinstance(module, SPGModule)
    return module


def build_trainer(cfg: DictConfig, extra_callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return the trainer with its callbacks and logger; entries of `callbacks` that are null are left out.

    The extra callbacks come first: they see a step before the config's do something with it.
    """
    callbacks = [make(node) for node in cfg.callbacks.values() if node is not None]
    # bound first: a finished logger must not be merged into a config, as keyword arguments of `instantiate` are
    make_trainer = make(_composable(cfg.trainer), _partial_=True)
    plugins = list(make_trainer.keywords.get("plugins") or ())
    if cfg.trainer.get("sync_batchnorm"):
        plugins.append(SyncBatchNorm())
    others = {}
    if not any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks):
        others["enable_progress_bar"] = False  # callbacks.progress=null: Lightning would take one of its own
    try:
        trainer = make_trainer(
            callbacks=[*extra_callbacks, *callbacks], logger=make(cfg.logger), precision=precision_of(cfg.trainer),
            plugins=plugins, **others,
        )  # fmt: skip
    except (MisconfigurationException, ValueError) as error:  # Lightning's word for an impossible combination
        raise UserError(f"trainer: {first_line(error)}") from error
    assert isinstance(trainer, pl.Trainer)
    _check_processes(trainer, bool(cfg.trainer.get("sync_batchnorm")))
    return trainer


def _composable(trainer: DictConfig) -> DictConfig:
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
    """Return what `trainer.precision=auto` means here: bfloat16 on a GPU that computes in it, else float32."""
    if trainer.precision != "auto":
        return str(trainer.precision)
    on_gpu = trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def _check_processes(trainer: pl.Trainer, sync_batchnorm: bool) -> None:
    if (started := started_by_torchrun()) not in (0, trainer.world_size):
        raise UserError(
            f"torchrun started {started} processes, the config has {trainer.world_size}: "
            f"set trainer=ddp trainer.devices=<processes a machine> trainer.num_nodes=<machines>, {started} in all"
        )
    if sync_batchnorm and trainer.world_size > 1 and isinstance(trainer.accelerator, CPUAccelerator):
        raise UserError("trainer.sync_batchnorm=true: torch has it on GPUs alone; leave it out on the CPU")


def load_network(path: str | Path) -> tuple[SPGNetwork, Description]:
    """Rebuild the network of a checkpoint, in evaluation mode, and return it with the checkpoint's description.

    Raises:
        UserError: not a checkpoint of this package, or one whose config would construct something foreign.
    """
    description, state_dict = read_checkpoint(path)
    cfg = OmegaConf.create(description.config)
    node = OmegaConf.to_container(cfg.method.network, resolve=True)
    _refuse_foreign(node, path)
    assert isinstance(node, dict)
    node["stem"]["weights"] = "none"  # they come from the checkpoint
    network = make(node, num_classes=len(description.class_names))
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as error:
        raise UserError(f"checkpoint={path}: its weights do not fit the network its config describes") from error
    return network.eval(), description


def _refuse_foreign(node: Any, path: str | Path) -> None:
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if target is not None and not str(target).startswith(TRUSTED):
            raise UserError(
                f"checkpoint={path} would construct {target}, which is none of this package's parts; refused"
            )
        for value in node.values():
            _refuse_foreign(value, path)
    elif isinstance(node, list):
        for value in node:
            _refuse_foreign(value, path)
