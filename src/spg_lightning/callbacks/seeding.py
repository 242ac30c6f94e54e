"""Seeded guidance: foreground maps of all training images, from pretrained features first, then from the network itself."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from spg_lightning.data.images import ImageDataset, batches
from spg_lightning.data.seed_maps import SeedMaps
from spg_lightning.data.stored_maps import LEVELS, MapArray, to_levels, write_maps
from spg_lightning.data.transforms import test_transform
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.evaluation.cached_maps import BATCH, TrainingFreeMaps, shrink
from spg_lightning.localizer import Localizer
from spg_lightning.module import SPGModule
from spg_lightning.score_maps.normalization import MinMax
from spg_lightning.score_maps.registry import processed, resolve
from spg_lightning.utils.distributed import is_global_zero

log = logging.getLogger(__name__)


class Seeding(pl.Callback):
    """Gives the training images their seed masks, in rounds.

    Round 0 comes from training-free maps. In each later round the network's own refined maps take over (self-training).

    Args:
        maps: the training-free maps; later rounds have their refinement and size.
        round_name: of the network's map that seeds the later rounds.
        high, low: see `SeedMaps`.
        rounds: when the later rounds begin, as fractions of the training's epochs.
        directory: for the maps of the later rounds.

    Raises:
        UserError: impossible thresholds or rounds.
    """

    def __init__(
        self, maps: TrainingFreeMaps, round_name: str, high: float, low: float, rounds: Sequence[float], directory: str
    ) -> None:
        if not 0 <= low < high < 1:
            raise UserError(f"seeds.high={high:g} and seeds.low={low:g}: choose 0 <= low < high < 1")
        if any(not 0 < begin < 1 for begin in rounds) or sorted(set(rounds)) != list(rounds):
            raise UserError(
                f"seeds.rounds={list(rounds)}: choose rising fractions of the training between 0 and 1, or []"
            )
        self.maps, self.round_name, self.high, self.low = maps, round_name, high, low
        self.rounds, self.directory = list(rounds), Path(directory)
        self.seeds: SeedMaps | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compute the first seeds, before the loaders start. Lightning calls this."""
        if stage != "fit":
            return
        assert isinstance(pl_module, SPGModule)
        if not pl_module.network.branches:
            raise UserError("guidance=seeded supervises SPG's branches, and this method has none; choose method=spg")
        data = trainer.datamodule  # type: ignore[attr-defined]
        data.setup()
        epochs = self._first_epochs(trainer.max_epochs or 0)
        if self.rounds:
            resolve(self.round_name, pl_module.network.branches)
        network = pl_module.network.to(trainer.strategy.root_device)
        first = self.maps.compute(network, data, "train", trainer.global_rank, trainer.world_size)
        trainer.strategy.barrier()
        later = [MapArray(self.directory / f"round{number}.npy") for number in range(1, len(epochs))]
        self.seeds = data.seeds = SeedMaps([first, *later], epochs, self.high, self.low)

    def _first_epochs(self, max_epochs: int) -> list[int]:
        """Return the first epoch of each round.

        Raises:
            UserError: the epochs are not known or too few for the rounds.
        """
        epochs = [0, *(round(begin * max_epochs) for begin in self.rounds)]
        if self.rounds and (max_epochs < 2 or len(set(epochs)) < len(epochs) or max(epochs) >= max_epochs):
            raise UserError(
                f"seeds.rounds={self.rounds} do not fit into trainer.max_epochs={max_epochs}: each round needs an epoch"
            )
        return epochs

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the seeds of the epoch that a resumed run begins with, if the interruption came before."""
        self._begin_round(trainer, pl_module, trainer.datamodule.begin[0])  # type: ignore[attr-defined]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the seeds of the next epoch where a round begins with it."""
        self._begin_round(trainer, pl_module, trainer.current_epoch + 1)

    def _begin_round(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int) -> None:
        assert self.seeds is not None
        assert isinstance(module, SPGModule)
        number = self.seeds.round_of(epoch)
        maps = self.seeds.rounds[number]
        if not isinstance(maps, MapArray) or maps.path.is_file():
            return
        if epoch not in self.seeds.epochs:
            raise UserError(
                f"seeds: {maps.path}, which this round trains with, is missing; start again with overwrite=true"
            )
        data = trainer.datamodule  # type: ignore[attr-defined]
        if is_global_zero():
            log.info("seeds: round %d, from the network's own %s", number, self.round_name)
            self._write_round(maps.path, module, data)
        _wait_for(maps.path)
        trainer.strategy.barrier()

    def _write_round(self, path: Path, module: SPGModule, data: ImageDataModule) -> None:
        """Write the network's maps of all training images. One that cannot be read is ignored everywhere."""
        own = resolve(self.round_name, module.network.branches)
        localizer = Localizer(module.network, processed(own, {"minmax": MinMax()}, {"refined": self.maps.refine}))
        images = ImageDataset(
            data.records["train"], test_transform(data.crop), data.on_corrupt_image, with_masks=False, with_boxes=False,
            source=data.source or data.files("train"),
        )  # fmt: skip
        between, side = round((self.high + self.low) / 2 * LEVELS), self.maps.side
        levels = np.full((len(images), side, side), between, np.uint8)
        training = module.network.training
        module.network.eval()
        for batch in batches(images, BATCH):
            maps = torch.from_numpy(localizer.maps(batch["image"], batch["label"].tolist()))
            levels[batch["index"].numpy()] = to_levels(shrink(maps, side).numpy())
        module.network.train(training)
        write_maps(path, levels)


def _wait_for(path: Path) -> None:
    """Wait for the file that the first process writes, without the time limit of a barrier."""
    while not is_global_zero() and not path.is_file():
        time.sleep(0.5)
