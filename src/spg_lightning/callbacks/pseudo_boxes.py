"""Boxes that stand in for ground truth on val: of a training-free map, or of a file in the benchmark's format."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Float, Int

from spg_lightning.data.readers.benchmark_metadata import read_boxes, write_boxes
from spg_lightning.data.records import Records
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.evaluation.cached_maps import TrainingFreeMaps
from spg_lightning.module import SPGModule
from spg_lightning.spg.network import SPGNetwork

log = logging.getLogger(__name__)
AUTO, ALWAYS = "auto", "always"
CHOICES = "choose auto, always, or a file of rows <image id>,<x0>,<y0>,<x1>,<y1>"


class PseudoBoxes(pl.Callback):
    """Lets pseudo boxes choose score map, threshold and weights: without any box on val nothing else could.

    Args:
        source: "auto": boxes of the training-free maps, if val has neither boxes nor masks; "always": also if it has some, which
            are then not used; or the path of a file in the format of the benchmark's localization.txt.
        maps: the training-free maps; None if the stem has no pretrained weights.

    Raises:
        UserError: no source is given.
    """

    def __init__(self, source: str | None, maps: TrainingFreeMaps | None) -> None:
        if source is None:  # evaluate's default, which takes that of the training
            raise UserError(f"pseudo_boxes=null: {CHOICES}")
        self.source, self.maps = source, maps

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Draw or read the boxes before the first validation. Lightning calls this."""
        if stage != "fit":
            return
        assert isinstance(pl_module, SPGModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        data.setup()
        pl_module.network.to(trainer.strategy.root_device)
        use_pseudo_boxes(self.source, self.maps, pl_module.network, data, trainer)


def use_pseudo_boxes(
    source: str, maps: TrainingFreeMaps | None, network: SPGNetwork, data: ImageDataModule, trainer: pl.Trainer
) -> None:
    """Replace the ground truth of val by pseudo boxes, if `source` says so; see `PseudoBoxes`.

    Args:
        network: see `TrainingFreeMaps.compute`.
        data: set up.

    Raises:
        UserError: `source` is "always" without training-free maps; the file is missing, a row of it is wrong, or it has no box of
            a val image; see also `TrainingFreeMaps.compute`.
    """
    val = data.records["val"]
    has_truth = len(val.boxes) > 0 or bool(val.masks)
    if not len(val) or (source == AUTO and (has_truth or maps is None)):
        return
    if source in (AUTO, ALWAYS):
        if maps is None:
            raise UserError(
                f"pseudo_boxes={source} needs a training-free map, which needs pretrained weights: leave out training_free=none and "
                "stem.weights=none, or give pseudo_boxes=<file>"
            )
        files = maps.compute(network, data, "val", trainer.global_rank, trainer.world_size)
        trainer.strategy.barrier()
        boxes, offsets, name = maps.boxes(files, val), np.arange(len(val) + 1), maps.name
    else:
        boxes, offsets = _of_file(source, val)
        name = Path(source).name
    data.records["val"] = replace(val, boxes=boxes, box_offsets=offsets, masks=(), ignored=(), origin=None)
    data.pseudo_boxes = name
    if trainer.is_global_zero:
        reason = "val's own boxes and masks are not used" if has_truth else "no val image has a box"
        log.warning("%s: boxes of %s choose map and threshold, see docs/evaluation.md", reason, name)


def write_pseudo_boxes(path: Path, data: ImageDataModule) -> None:
    """Write the pseudo boxes that were used, if any, as rows of the benchmark's localization.txt."""
    if data.pseudo_boxes:
        write_boxes(path, data.records["val"])


def _of_file(source: str, val: Records) -> tuple[Float[np.ndarray, "N 4"], Int[np.ndarray, " n"]]:
    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(f"pseudo_boxes={source}: {CHOICES}, which is missing")
    boxes, offsets = read_boxes(path, val.images)
    if not len(boxes):
        raise UserError(f"pseudo_boxes={source} has no box of a val image; their ids are like {val.images[0]}")
    return boxes, offsets
