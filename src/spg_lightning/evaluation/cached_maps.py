"""Boxes of the pretrained backbone without any training: seeds, boxes to choose by, and a baseline in every report."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from spg_lightning.data.images import ImageDataset, batches
from spg_lightning.data.index.cache import cache_folder
from spg_lightning.data.records import Records
from spg_lightning.data.stored_maps import LEVELS, MapFiles, to_levels, write_maps
from spg_lightning.data.transforms import test_transform
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.localization.metrics import LocalizationCounts, LocalizationMetric
from spg_lightning.localization.threshold_scan import box_of_map
from spg_lightning.localizer import Localizer
from spg_lightning.score_maps.context import ScoreMap
from spg_lightning.score_maps.normalization import MinMax
from spg_lightning.score_maps.refinement import Refinement
from spg_lightning.score_maps.registry import processed, resolve
from spg_lightning.score_maps.training_free import TrainingFreeMap
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.utils.durations import duration

log = logging.getLogger(__name__)
BATCH = 16  # images a forward
MOST_FITTED = 400  # images that maps are fitted on
# A map's own threshold is its mean plus so many standard deviations. The best fixed one is 0.34 for `feature_norm` on birds,
# 0.56 on drawn ones and 0.28 for `feature_pca` there; this rule comes near all three (experiments/cub20_seeded).
DEVIATIONS = 0.75


class TrainingFreeMaps:
    """The training-free map of every image of a split, computed once an image and cached for all runs.

    Args:
        maps: training-free maps by name.
        name: the one to use, one of `maps`, or a mean: "a+b".
        refine: its refinement; None for none.
        image_side: side in pixels of the images that the maps see.
        side: of the stored maps in pixels.
        threshold: of their boxes, where these stand in for ground truth on val; a fraction of a map's range. None: each map's
            own, see `own_threshold`.

    Raises:
        UserError: `name` is none of the maps, or the threshold is out of its range.
    """

    def __init__(
        self,
        maps: Mapping[str, ScoreMap],
        name: str,
        refine: Refinement | None,
        image_side: int,
        side: int,
        threshold: float | None,
    ) -> None:
        if unknown := set(name.split("+")) - set(maps):
            raise UserError(
                f"training_free.name={name}: {sorted(unknown)[0]} is not in training_free.maps; it has {', '.join(maps)}"
            )
        if threshold is not None and not 0 <= threshold < 1:
            raise UserError(f"training_free.threshold={threshold:g}: choose null, or a number, 0 or more and below 1")
        self.parts: dict[str, ScoreMap] = {part: maps[part] for part in name.split("+")}
        self.name, self.refine, self.threshold = name, refine, threshold
        self.image_side, self.side = image_side, side

    def compute(
        self, network: SPGNetwork, data: ImageDataModule, split: str, rank: int = 0, processes: int = 1
    ) -> MapFiles:
        """Return the maps of a split; those that the cache lacks are computed, by several processes each its share.

        Args:
            network: any, on the device to compute on; the maps do not use its weights.
            data: set up.
            split: train, val or test.
            rank, processes: of this process.

        Raises:
            UserError: fewer than half of the images can be read.
        """
        records = data.records[split]
        names = [_digest(_identity(records, index)) for index in range(len(records))]
        files = MapFiles(self._folder(data), names, self.side)
        share = range(rank, len(records), processes)
        missing = [index for index in share if not files.has(index)]
        if missing:
            log.info("%s of %d %s images, cached in %s", self.name, len(missing), split, files.folder)
            self._fit(network, data)
        read, begin = 0, perf_counter()
        for indices, maps in self._maps(network, data, split, missing):
            if not read and len(missing) > 4 * len(indices):
                left = (perf_counter() - begin) / len(indices) * (len(missing) - len(indices))
                log.info("%s: about %s", self.name, duration(left))
            for index, values in zip(indices, to_levels(maps.numpy()), strict=True):
                write_maps(files.path(index), values)
            read += len(indices)
        corrupt = len(missing) - read
        if corrupt > len(share) / 2:
            raise UserError(f"{self.name}: {corrupt} of {len(share)} {split} images cannot be read; restore them")
        return files

    def boxes(self, files: MapFiles, records: Records) -> Float[np.ndarray, "N 4"]:
        """Return a box an image, x0 y0 x1 y1 in its pixels; the whole image where it has no map."""
        found = []
        for index, (width, height) in enumerate(records.sizes.tolist()):
            if files.has(index):
                values = files(index).astype(np.float32) / LEVELS
                threshold = own_threshold(values) if self.threshold is None else self.threshold
                found.append(box_of_map(values, threshold, (width, height)))
            else:
                found.append((0.0, 0.0, float(width), float(height)))
        return np.asarray(found, np.float64).reshape(-1, 4)

    def counts(
        self, files: MapFiles, data: ImageDataModule, split: str, num_thresholds: int, choose_by: str
    ) -> LocalizationCounts:
        """Return how well the maps localize, measured as those of a network."""
        metric, dataset = LocalizationMetric(num_thresholds, choose_by=choose_by), data.dataset(split)
        width, height = data.frame
        for begin in range(0, len(dataset), BATCH):
            indices = [i for i in range(begin, min(begin + BATCH, len(dataset))) if files.has(i)]
            if not indices:
                continue
            stored = torch.from_numpy(np.stack([files(index) for index in indices])[:, None]) / LEVELS
            maps = F.interpolate(stored, size=(height, width), mode="bilinear", align_corners=False)[:, 0]
            masks = [dataset.true_mask(index) for index in indices]
            metric.update(
                maps, boxes=[dataset.true_boxes(index) for index in indices],
                masks=None if any(mask is None for mask in masks) else [mask for mask in masks if mask is not None],
            )  # fmt: skip
        return metric.compute()

    def _fit(self, network: SPGNetwork, data: ImageDataModule) -> None:
        device = next(network.parameters()).device
        for part in self.parts.values():
            if isinstance(part, TrainingFreeMap) and part.learns and not part.state():
                chosen = _fitted_on(data)
                images = chain.from_iterable(
                    batches(self._images(data, split), BATCH, indices) for split, indices in chosen.items()
                )
                part.fit(batch["image"].to(device) / 255 for batch in images)

    def _maps(
        self, network: SPGNetwork, data: ImageDataModule, split: str, indices: list[int]
    ) -> Iterator[tuple[list[int], Float[Tensor, "B S S"]]]:
        """Yield the maps of images, refined, at the stored size, with their indices. Corrupt images are left out."""
        refined = processed(resolve(self.name, (), self.parts), {"minmax": MinMax()}, {"refined": self.refine})
        localizer, training = Localizer(network, refined), network.training
        network.eval()
        for batch in batches(self._images(data, split), BATCH, indices):
            maps = torch.from_numpy(localizer.maps(batch["image"], batch["label"].tolist()))
            yield batch["index"].tolist(), shrink(maps, self.side)
        network.train(training)

    def _images(self, data: ImageDataModule, split: str) -> ImageDataset:
        return ImageDataset(
            data.records[split], test_transform(self.image_side), data.on_corrupt_image, with_masks=False, with_boxes=False,
            source=(data.source if split == "train" else None) or data.files(split),
        )  # fmt: skip

    def _folder(self, data: ImageDataModule) -> Path:
        """Return the folder of the maps with these settings: its name depends on all that the maps depend on."""
        learns = any(isinstance(part, TrainingFreeMap) and part.learns for part in self.parts.values())
        fitted = _fitted_on(data) if learns else {}
        settings = {
            "fitted on": sorted(
                _identity(data.records[split], index) for split, indices in fitted.items() for index in indices
            ),
            "map": self.name, "side": self.side, "image_side": self.image_side,
            "parts": {name: _describe(part) for name, part in self.parts.items()}, "refine": _describe(self.refine),
        }  # fmt: skip
        return cache_folder() / "training_free" / _digest(json.dumps(settings, sort_keys=True))


def own_threshold(values: Float[np.ndarray, "Y X"]) -> float:
    """Return the threshold of a map of positive values as a fraction of its maximum: mean + `DEVIATIONS` x standard deviation."""
    highest = float(values.max())
    return min(float(values.mean() + DEVIATIONS * values.std()) / highest, 0.99) if highest else 0.0


def shrink(maps: Float[Tensor, "B Y X"], side: int) -> Float[Tensor, "B S S"]:
    """Return maps of the stored size."""
    return F.interpolate(maps[:, None], size=(side, side), mode="area")[:, 0]


def _fitted_on(data: ImageDataModule) -> dict[str, list[int]]:
    """Return the images that maps are fitted on, by split: a part of train and val together is enough for a component of all.

    Nothing of their labels is used. Runs that hold out other images for val have the same maps.
    """
    ids = sorted(
        (data.records[split].images[index], split, index)
        for split in ("train", "val")
        for index in range(len(data.records[split]))
    )
    chosen = np.linspace(0, len(ids) - 1, min(len(ids), MOST_FITTED)).round().astype(int).tolist()
    return {split: [ids[k][2] for k in chosen if ids[k][1] == split] for split in ("train", "val")}


def _identity(records: Records, index: int) -> str:
    """Return an image's path with its file's size and time: another image of the same name is another image."""
    path = records.root.resolve() / records.images[index]
    try:
        status = path.stat()
    except OSError:  # its pixels come from shards
        return str(path)
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


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
