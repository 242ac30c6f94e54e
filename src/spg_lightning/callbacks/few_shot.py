"""A few-shot reference: boxes of a few images a class supervise the branches in place of guidance (Choe et al., CVPR 2020)."""

import logging

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Int8

from spg_lightning.data.records import Records
from spg_lightning.data.seed_maps import BACKGROUND, FOREGROUND, IGNORED
from spg_lightning.errors import UserError
from spg_lightning.module import SPGModule

log = logging.getLogger(__name__)


class BoxSeeds:
    """Masks of the boxes of some training images; all others are ignored everywhere.

    Args:
        records: the training images.
        per_class: at most so many images of a class, those drawn first: a larger number adds to those of a smaller one.
        seed: of the draw.
    """

    def __init__(self, records: Records, per_class: int, seed: int) -> None:
        self.records = records
        has_box = np.diff(records.box_offsets) > 0
        order = np.random.default_rng(seed).permutation(len(records))
        of_class = [order[has_box[order] & (records.labels[order] == k)] for k in range(len(records.class_names))]
        self.chosen = frozenset(int(index) for indices in of_class for index in indices[:per_class])

    def mask(self, index: int, size: tuple[int, int], epoch: int) -> Int8[np.ndarray, "Y X"]:
        """Return the ternary mask of a training image, the same in all epochs; see `SeedMasks`."""
        if index not in self.chosen:
            return np.full(size[::-1], IGNORED, np.int8)
        mask = np.full(size[::-1], BACKGROUND, np.int8)
        scale = np.tile(size, 2) / np.tile(self.records.sizes[index], 2)
        for x0, y0, x1, y1 in np.rint(self.records.boxes_of(index) * scale).astype(int):
            mask[y0:y1, x0:x1] = FOREGROUND
        return mask


class FewShotBoxes(pl.Callback):
    """Gives a few training images of each class the masks of their boxes, drawn by the run's seed.

    Args:
        per_class: images a class; of a class with fewer boxed images, all of them.

    Raises:
        UserError: `per_class` is not a whole number above 0.
    """

    def __init__(self, per_class: int) -> None:
        if not isinstance(per_class, int) or per_class < 1:
            raise UserError(f"callbacks.few_shot.per_class={per_class}: choose a whole number, 1 or more")
        self.per_class = per_class

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Draw the images before the loaders start. Lightning calls this.

        Raises:
            UserError: the method has no branches, or no training image has a box.
        """
        if stage != "fit":
            return
        assert isinstance(pl_module, SPGModule)
        if not pl_module.network.branches:
            raise UserError("guidance=few_shot supervises SPG's branches, and this method has none; choose method=spg")
        data = trainer.datamodule  # type: ignore[attr-defined]
        data.setup()
        seeds = BoxSeeds(data.records["train"], self.per_class, data.seed)
        if not seeds.chosen:
            raise UserError("guidance=few_shot needs boxes of training images, and this data set has none")
        data.seeds = seeds
        log.info("few-shot: the boxes of %d of %d training images", len(seeds.chosen), len(data.records["train"]))
