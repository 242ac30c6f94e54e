"""Boxes that stand in for ground truth on val where it has none."""

import logging

import pytorch_lightning as pl

from spg_lightning.datamodule import ImageDataModule
from spg_lightning.evaluation.cached_maps import TrainingFreeMaps
from spg_lightning.module import SPGModule
from spg_lightning.spg.network import SPGNetwork

log = logging.getLogger(__name__)


class PseudoBoxes(pl.Callback):
    """Lets the boxes of training-free maps choose score map, threshold and weights: without any box on val nothing else could.

    Args:
        maps: the training-free maps.
    """

    def __init__(self, maps: TrainingFreeMaps) -> None:
        self.maps = maps

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Draw the boxes before the first validation. Lightning calls this."""
        if stage != "fit":
            return
        assert isinstance(pl_module, SPGModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        data.setup()
        pl_module.network.to(trainer.strategy.root_device)
        draw_pseudo_boxes(self.maps, pl_module.network, data, trainer)


def draw_pseudo_boxes(maps: TrainingFreeMaps, network: SPGNetwork, data: ImageDataModule, trainer: pl.Trainer) -> None:
    """Draw a box on each val image if val has neither boxes nor masks.

    Raises:
        UserError: see `TrainingFreeMaps.compute`.
    """
    val = data.records["val"]
    if not len(val) or len(val.boxes) or val.masks:
        return
    files = maps.compute(network, data, "val", trainer.global_rank, trainer.world_size)
    trainer.strategy.barrier()
    data.set_pseudo_boxes(maps.boxes(files, val), maps.name)
    if trainer.is_global_zero:
        log.warning("no val image has a box: boxes of %s choose map and threshold, see docs/evaluation.md", maps.name)
