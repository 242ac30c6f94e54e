"""Seeded guidance: foreground maps of all training images, from pretrained features first, then from the network itself."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from spg_lightning.data.images import ImageDataset, batches
from spg_lightning.data.index.cache import cache_folder
from spg_lightning.data.records import Records
from spg_lightning.data.seed_maps import LEVELS, SeedMaps
from spg_lightning.data.transforms import test_transform
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.localizer import Localizer
from spg_lightning.module import SPGModule
from spg_lightning.score_maps.context import ScoreMap
from spg_lightning.score_maps.normalization import MinMax
from spg_lightning.score_maps.refinement import Refinement
from spg_lightning.score_maps.registry import processed, resolve
from spg_lightning.score_maps.training_free import TrainingFreeMap
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.distributed import is_global_zero

log = logging.getLogger(__name__)
BATCH = 16  # images a forward


class Seeding(pl.Callback):
    """Gives the training images their seed masks, in rounds.

    Round 0 comes from training-free maps, computed once and cached for all runs on the same images. In each later round the
    network's own refined maps take over (self-training).

    Args:
        maps: training-free maps by name.
        name: of the map that seeds, "a+b" for a mean; one of `maps`.
        round_name: of the network's map that seeds the later rounds.
        refine: refinement of both; null for none.
        high, low: see `SeedMaps`.
        image_side: side in pixels of the images that the training-free maps see.
        side: of the stored maps in pixels.
        rounds: when the later rounds begin, as fractions of the training's epochs.
        directory: for the maps of the later rounds.

    Raises:
        UserError: impossible thresholds or rounds.
    """

    def __init__(
        self,
        maps: Mapping[str, ScoreMap],
        name: str,
        round_name: str,
        refine: Refinement | None,
        high: float,
        low: float,
        image_side: int,
        side: int,
        rounds: Sequence[float],
        directory: str,
    ) -> None:
        if not 0 <= low < high < 1:
            raise UserError(f"seeds.high={high:g} and seeds.low={low:g}: choose 0 <= low < high < 1")
        if any(not 0 < begin < 1 for begin in rounds) or sorted(set(rounds)) != list(rounds):
            raise UserError(
                f"seeds.rounds={list(rounds)}: choose rising fractions of the training between 0 and 1, or []"
            )
        if unknown := set(name.split("+")) - set(maps):
            raise UserError(f"seeds.name={name}: {sorted(unknown)[0]} is not in seeds.maps; it has {', '.join(maps)}")
        self.maps, self.name, self.round_name, self.refine = dict(maps), name, round_name, refine
        self.high, self.low, self.image_side, self.side = high, low, image_side, side
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
        first = self._seed_file(trainer, pl_module, data, "train")
        paths = [first, *(self.directory / f"round{number}.npy" for number in range(1, len(epochs)))]
        self.seeds = data.seeds = SeedMaps(paths, epochs, self.high, self.low)
        if not len(data.records["val"].boxes) and not data.records["val"].masks:
            self.draw_pseudo_boxes(trainer, pl_module, data)

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
        path = self.seeds.paths[number]
        if number == 0 or path.is_file():
            return
        if epoch not in self.seeds.epochs:
            raise UserError(f"seeds: {path}, which this round trains with, is missing; start again with overwrite=true")
        data = trainer.datamodule  # type: ignore[attr-defined]
        if is_global_zero():
            log.info("seeds: round %d, from the network's own %s", number, self.round_name)
            own = resolve(self.round_name, module.network.branches)
            images = ImageDataset(
                data.records["train"], test_transform(data.crop), data.on_corrupt_image, with_masks=False, with_boxes=False,
                source=data.source,
            )  # fmt: skip
            self._write(path, self._localizer(module, own), images, trainer.strategy.root_device)
        _wait_for(path)
        trainer.strategy.barrier()

    def _seed_file(self, trainer: pl.Trainer, module: SPGModule, data: ImageDataModule, split: str) -> Path:
        """Return the file of a split's first seeds, computed now if the cache lacks it."""
        path = Path(trainer.strategy.broadcast(str(self._cached(data, split))))
        if is_global_zero() and not path.is_file():
            self._write_first(path, module, data, split, trainer.strategy.root_device)
        _wait_for(path)
        trainer.strategy.barrier()
        return path

    def _write_first(
        self, path: Path, module: SPGModule, data: ImageDataModule, split: str, device: torch.device
    ) -> None:
        maps = resolve(self.name, (), self.maps)
        log.info("seeds: %s of %d %s images, cached in %s", self.name, len(data.records[split]), split, path)
        for part in self.name.split("+"):
            if isinstance(score_map := self.maps[part], TrainingFreeMap) and not score_map.state():
                images = batches(self._images(data, "train"), BATCH)
                score_map.fit(batch["image"].to(device) / 255 for batch in images)
        self._write(path, self._localizer(module, maps), self._images(data, split), device)

    def draw_pseudo_boxes(self, trainer: pl.Trainer, module: SPGModule, data: ImageDataModule) -> None:
        """Let the seeds' boxes choose map and threshold: without any box on val nothing else could."""
        path = self._seed_file(trainer, module, data, "val")
        localizer = Localizer(module.network, {}, threshold=(self.high + self.low) / 2)
        sizes = data.records["val"].sizes.tolist()
        maps = np.load(path, mmap_mode="r")
        boxes = [
            localizer.box(values.astype(np.float32) / LEVELS, (width, height))
            for values, (width, height) in zip(maps, sizes, strict=True)
        ]
        data.set_pseudo_boxes(np.asarray(boxes, np.float64), self.name)
        log.warning(
            "no val image has a box: map and threshold are chosen by the boxes of %s, see docs/evaluation.md", self.name
        )

    def _images(self, data: ImageDataModule, split: str) -> ImageDataset:
        return ImageDataset(
            data.records[split], test_transform(self.image_side), data.on_corrupt_image, with_masks=False, with_boxes=False,
            source=data.source if split == "train" else None,
        )  # fmt: skip

    def _localizer(self, module: SPGModule, maps: Mapping[str, ScoreMap]) -> Localizer:
        return Localizer(module.network, processed(maps, {"minmax": MinMax()}, {"refined": self.refine}))

    def _write(self, path: Path, localizer: Localizer, images: ImageDataset, device: torch.device) -> None:
        """Write the maps of all images. A corrupt image gets a map that is ignored everywhere."""
        between = round((self.high + self.low) / 2 * LEVELS)
        stored = np.full((len(images), self.side, self.side), between, np.uint8)
        network = localizer.network.to(device)
        training = network.training
        network.eval()
        read = 0
        for batch in batches(images, BATCH):
            maps = localizer.maps(batch["image"], batch["label"].tolist())
            stored[batch["index"].numpy()] = _shrink(torch.from_numpy(maps), self.side)
            read += len(maps)
        network.train(training)
        if read < len(images) / 2:
            raise UserError(f"seeds: only {read} of {len(images)} images could be read; restore them")
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomically(path) as file:
            np.save(file, stored)

    def _cached(self, data: ImageDataModule, split: str) -> Path:
        """Return the file of a split's first seeds: its name depends on all that they depend on."""
        records, fitted = data.records[split], data.records["train"]
        parts = [self.maps[part] for part in self.name.split("+")]
        learns = any(type(part).fit is not TrainingFreeMap.fit for part in parts if isinstance(part, TrainingFreeMap))
        settings = {
            "images": [str(records.root.resolve()), *(_identity(records, index) for index in range(len(records)))],
            "fitted on": [_identity(fitted, index) for index in range(len(fitted) if learns else 0)],
            "map": self.name, "side": self.side, "image_side": self.image_side,
            "parts": {name: _describe(self.maps.get(name)) for name in self.name.split("+")},
            "refine": _describe(self.refine),
        }  # fmt: skip
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]
        return cache_folder() / "seeds" / f"{digest}.npy"


def _wait_for(path: Path) -> None:
    """Wait for the file that the first process writes, without the time limit of a barrier."""
    while not is_global_zero() and not path.is_file():
        time.sleep(0.5)


def _identity(records: Records, index: int) -> str:
    """Return an image's id with its file's size and time: another image of the same name is another image."""
    try:
        status = (records.root / records.images[index]).stat()
    except OSError:  # its pixels come from shards
        return records.image_id(index)
    return f"{records.image_id(index)} {status.st_size} {status.st_mtime_ns}"


def _describe(part: Any) -> str:
    """Return a part's class and settings as text; of a backbone its weights."""
    if part is None:
        return "none"
    settings = []
    for name, value in sorted(vars(part).items()):
        if isinstance(value, torch.nn.Module):
            digest = hashlib.sha256()
            for tensor in value.state_dict().values():
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
            scale = (getattr(value, "mean", None), getattr(value, "std", None))
            value = (type(value).__name__, digest.hexdigest(), scale)
        if not isinstance(value, Tensor):
            settings.append(f"{name}={value}")
    return f"{type(part).__qualname__}({', '.join(settings)})"


def _shrink(maps: Float[Tensor, "B Y X"], side: int) -> np.ndarray:
    """Return maps of the stored size and type."""
    small = F.interpolate(maps[:, None], size=(side, side), mode="area")[:, 0]
    values: np.ndarray = (small * LEVELS).round().clamp(0, LEVELS).to(torch.uint8).numpy()
    return values
