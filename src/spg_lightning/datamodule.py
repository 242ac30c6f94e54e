"""Glue between records and Lightning: splits, loaders, and samplers that count every image once."""

import math
import signal
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Sampler

from spg_lightning.data.device_augmentation import cut_windows
from spg_lightning.data.photos import Batch, ImageDataset, ImageFiles, Sample, Source, collate
from spg_lightning.data.records import Records, Splits, stratified_holdout
from spg_lightning.data.shards.shards import ShardedImages, Shards
from spg_lightning.data.transforms import Windows, resize_transform, test_transform, train_transform
from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import scale_boxes
from spg_lightning.utils.signals import SIGNALS

DECODE, AUGMENT = ("full", "reduced"), ("workers", "device")
SHUFFLE_BUFFER_CHUNKS = 32  # chunks of about 400 photos that fetched photos are shuffled among


class ImageDataModule(pl.LightningDataModule):
    """Train, val and test photos of a reader.

    Args:
        reader: returns the `Splits`; called in `setup`, so that constructing touches no disk.
        resize, crop: sides in pixels: training photos become resize x resize with a random crop x crop window, the
            others crop x crop.
        batch_size: training photos a step, over all processes.
        eval_batch_size: photos a step and process of validation and test.
        num_workers: loader processes.
        worker_timeout: seconds without a batch from them, after which a `RuntimeError` ends the wait; 0: none does. A
            process that was started at an unlucky moment never answers (CPython issue 112275, before 3.11.10).
        val_fraction: of the training photos of each class, held out where the reader brings no validation part.
        on_corrupt_image: "skip" or "error", see `ImageDataset`.
        decode: "full", or "reduced": training photos at 1/2, 1/4 or 1/8, where JPEG allows and no side falls below `resize`.
        augment: where a training photo's window is cut and flipped: in the "workers", or on the "device"; both show the same.
        shards: folder or address of the training photos as shards, see `Shards`; None: the files.
        seed: of the held-out part and of the order of training photos.

    Raises:
        UserError: a value out of its range.
    """

    def __init__(
        self,
        reader: Callable[[], Splits],
        resize: int,
        crop: int,
        batch_size: int,
        eval_batch_size: int,
        num_workers: int,
        worker_timeout: float,
        val_fraction: float,
        on_corrupt_image: str,
        decode: str,
        augment: str,
        shards: str | None,
        seed: int,
    ) -> None:
        super().__init__()
        for key, value, choices in (("decode", decode, DECODE), ("augment", augment, AUGMENT)):
            if value not in choices:
                raise UserError(f"data.{key}={value}: choose {' or '.join(choices)}")
        if not 0 < crop <= resize:
            raise UserError(f"dataset.crop={crop} and dataset.resize={resize}: the window must fit into the photo")
        if not 0 < val_fraction < 1:
            raise UserError(f"data.val_fraction={val_fraction:g}: choose a share between 0 and 1")
        if worker_timeout < 0:
            raise UserError(f"data.worker_timeout={worker_timeout:g}: choose seconds, or 0 to wait for ever")
        self.reader, self.resize, self.crop, self.worker_timeout = reader, resize, crop, worker_timeout
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.val_fraction, self.on_corrupt_image, self.seed = val_fraction, on_corrupt_image, seed
        self.decode, self.augment, self.shards = decode, augment, shards
        self.records: dict[str, Records] = {}
        self.source: Source | None = None  # of the training photos
        self.begin = (0, 0)

    def fast_forward(self, epoch: int, batch: int) -> None:
        """Begin with a batch of an epoch: the photos of the batches before it are not loaded."""
        self.begin = (epoch, batch)

    def prepare_data(self) -> None:
        """Make what is made on first use (one process a machine)."""
        self.reader()

    def setup(self, stage: str | None = None) -> None:
        """Read the records, once."""
        if self.records:
            return
        splits = self.reader()
        train, val, rows = splits.train, splits.val, np.arange(len(splits.train))
        if val is None:
            rows, held = stratified_holdout(train, self.val_fraction, self.seed)
            train, val = splits.train.take(rows), splits.train.take(held)
        if self.shards is not None:
            self.source = ShardedImages(Shards(self.shards, splits.train, self.resize), rows)
        self.records = {"train": train, "val": val, "test": splits.test}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        self.setup()
        return self.records["train"].class_names

    @property
    def frame(self) -> tuple[int, int]:
        """Width and height of the network's input, in which boxes are compared."""
        return self.crop, self.crop

    def ground_truth(self, split: str, indices: list[int]) -> list[Int[np.ndarray, "_ 4"]]:
        """Return the boxes of photos of a split, scaled to the frame."""
        records = self.records[split]
        return [scale_boxes(records.boxes_of(i), tuple(records.sizes[i].tolist()), self.frame) for i in indices]

    def dataset(self, split: str) -> ImageDataset:
        """Return the photos of a split as evaluation sees them."""
        return ImageDataset(self.records[split], test_transform(self.crop), self.on_corrupt_image, with_masks=True)

    def train_dataset(self, with_boxes: bool = False) -> ImageDataset:
        """Return the training photos as training sees them: without masks, and without boxes if they are not asked for."""
        records = self.records["train"]
        in_workers = self.augment == "workers"
        return ImageDataset(
            records,
            train_transform(self.resize, self.crop) if in_workers else resize_transform(self.resize),
            self.on_corrupt_image,
            with_masks=False,
            with_boxes=with_boxes,
            source=self.source or ImageFiles(records, self.resize if self.decode == "reduced" else None),
            windows=None if in_workers else Windows(self.resize, self.crop),
        )

    def transfer_batch_to_device(self, batch: Batch | None, device: torch.device, dataloader_idx: int) -> Batch | None:
        """Send what the network reads; indices, boxes and masks are counted on the host. Lightning calls this."""
        if batch is None:
            return None
        sent = {"image": batch["image"], "label": batch["label"]}
        return batch | super().transfer_batch_to_device(sent, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Batch | None, dataloader_idx: int) -> Batch | None:
        """Cut the windows that the workers left to the device; Lightning calls this."""
        return None if batch is None else cut_windows(batch, self.crop)

    def train_dataloader(self) -> "DataLoader[Batch]":
        """Return shuffled batches of one size; what does not fill the last batch waits for the next epoch's shuffle.

        A step's photos, and how each is cropped and flipped, depend on the seed alone: several processes share the very
        batch that one would have had.
        """
        dataset = self.train_dataset()
        rank, processes = self._processes()
        if self.batch_size % processes:
            raise UserError(
                f"dataset.batch_size={self.batch_size} cannot be shared equally by {processes} processes; "
                f"choose a multiple of {processes}"
            )
        if len(dataset) < self.batch_size:
            raise UserError(
                f"dataset.batch_size={self.batch_size} is more than the {len(dataset)} training photos; choose a smaller one"
            )
        share = self.batch_size // processes
        indices = ProcessSampler(len(dataset), rank, processes, shuffle_seed=self.seed, places=self._places())
        indices.fast_forward(self.begin[0], self.begin[1] * share)
        return self._loader(dataset, SeededSampler(indices, self.seed), share, drop_last=True)

    def val_dataloader(self) -> "DataLoader[Batch]":
        """Return the validation photos, each once over all processes."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> "DataLoader[Batch]":
        """Return the test photos, each once over all processes."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> "DataLoader[Batch]":
        dataset, (rank, processes) = self.dataset(split), self._processes()
        if len(dataset) < processes:
            raise UserError(
                f"{processes} processes for {len(dataset)} {split} photos: each needs one; take fewer processes"
            )
        return self._loader(dataset, ProcessSampler(len(dataset), rank, processes), self.eval_batch_size)

    def _loader(
        self, dataset: ImageDataset, sampler: "Sampler", batch_size: int, drop_last: bool = False
    ) -> "DataLoader[Batch]":
        alone = self._processes()[1] == 1
        # of its own: a loader draws a number whenever it is started anew, which a run that goes on does more often. Nothing
        # reads it, as a photo's seed comes with its index, but drawn from torch's generator it would change dropout
        noise = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            timeout=self.worker_timeout if self.num_workers else 0,
            collate_fn=collate if alone or not drop_last else collate_nonempty,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=worker_init_fn,
            generator=noise,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def _places(self) -> Int[np.ndarray, " n"] | None:
        """Return the chunk each training photo is in, where chunks have to be fetched."""
        sharded = isinstance(self.source, ShardedImages) and self.source.shards.is_remote
        return self.source.shards.chunk_of(self.source.rows) if sharded else None  # type: ignore[union-attr]

    def _processes(self) -> tuple[int, int]:
        """Return this process's number and how many there are."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)


class ProcessSampler(Sampler[int]):
    """Deals 0 .. size - 1 to the processes: each index once, no padding.

    Args:
        size: how many indices.
        rank, world_size: this process and how many there are.
        shuffle_seed: shuffles anew each epoch, the same in all processes, and deals every process equally many (the few
            that are over wait for another epoch's shuffle); None keeps the order and deals everything.
        places: (size,) chunks that the indices are in: chunks are shuffled, and an index comes at random among those of
            `SHUFFLE_BUFFER_CHUNKS` chunks, so that no more have to be at hand; None: every order is as likely as any other.
    """

    def __init__(
        self,
        size: int,
        rank: int,
        world_size: int,
        shuffle_seed: int | None = None,
        places: Int[np.ndarray, " size"] | None = None,
    ) -> None:
        self.places = places
        self.size, self.rank, self.world_size, self.shuffle_seed = size, rank, world_size, shuffle_seed
        self.epoch = 0
        self.begin = (0, 0)

    def fast_forward(self, epoch: int, seen: int) -> None:
        """Leave out the first indices of an epoch, which have been seen. The epoch keeps its length for who counts it.

        The epoch is set, too: Lightning starts the loader's workers, which ask for indices, before it sets it.
        """
        self.epoch, self.begin = epoch, (epoch, seen)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's shuffle; Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle_seed is None:
            return iter(range(self.rank, self.size, self.world_size))
        order = self._order(np.random.default_rng([self.shuffle_seed, self.epoch]))
        seen = self.begin[1] if self.epoch == self.begin[0] else 0
        return iter(order[self.rank : len(self) * self.world_size : self.world_size].tolist()[seen:])

    def _order(self, rng: np.random.Generator) -> Int[np.ndarray, " size"]:
        if self.places is None:
            return rng.permutation(self.size)
        turn = rng.permutation(int(self.places.max()) + 1)  # of each chunk
        return np.argsort(turn[self.places] + SHUFFLE_BUFFER_CHUNKS * rng.random(self.size), kind="stable")

    def __len__(self) -> int:
        if self.shuffle_seed is None:
            return math.ceil((self.size - self.rank) / self.world_size)
        return self.size // self.world_size


class SeededSampler(Sampler[tuple[int, int]]):
    """Puts a seed for its random transforms beside every index.

    It depends on seed, epoch and index, not on who loads the photo: processes and workers do not change what is seen.

    Args:
        indices: deals the indices.
        seed: of the run.
    """

    def __init__(self, indices: ProcessSampler, seed: int) -> None:
        self.indices, self.seed = indices, seed

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's shuffle and seeds; Lightning calls this."""
        self.indices.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in self.indices:
            yield index, int(np.random.SeedSequence([self.seed, self.indices.epoch, index]).generate_state(1)[0])

    def __len__(self) -> int:
        return len(self.indices)


def worker_init_fn(worker: int) -> None:
    """Let a loader's worker live on when its whole group is asked to end: the last step still needs its photos.

    It has one thread, as torch's own work in it has: OpenCV would start one a core in each.
    """
    cv2.setNumThreads(1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def collate_nonempty(samples: list[Sample | None]) -> Batch:
    """Collate for one of several training processes, where a process without a photo would keep the others waiting.

    Raises:
        UserError: all of the photos are broken.
    """
    batch = collate(samples)
    if batch is None:
        raise UserError(
            "a process's share of a batch holds broken photos alone; restore them, or enlarge dataset.batch_size"
        )
    return batch
