"""The LightningDataModule: splits and loaders over the records of a reader."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Sampler

from spg_lightning.data.class_merging import ClassMerging
from spg_lightning.data.device_augmentation import cut_windows
from spg_lightning.data.images import Batch, ImageDataset, ImageFiles, Source, collate
from spg_lightning.data.records import Records, Splits, stratified_holdout
from spg_lightning.data.samplers import ProcessSampler, SeededSampler, collate_nonempty, worker_init_fn
from spg_lightning.data.seed_maps import SeedMasks
from spg_lightning.data.shards.shards import ShardedImages, Shards
from spg_lightning.data.transforms import (
    Windows,
    augmentation_transform,
    is_paper_augmentation,
    resize_transform,
    test_transform,
    train_transform,
)
from spg_lightning.data.truncated_images import TruncatedImages
from spg_lightning.errors import UserError

DECODE, AUGMENT = ("full", "reduced"), ("workers", "device")


class ImageDataModule(pl.LightningDataModule):
    """Train, val and test images of a reader.

    Args:
        reader: returns the `Splits`; called in `setup`, so that constructing touches no disk.
        resize, crop: sides in pixels of a resized training image, and of the network's square input.
        batch_size: training images a step, over all processes.
        eval_batch_size: images a step and process of validation and test.
        num_workers: loader processes.
        worker_timeout: seconds to wait for a batch before a `RuntimeError`; 0 waits for ever. A worker that starts at an
            unlucky moment never answers (CPython issue 112275, before 3.11.10).
        val_fraction: fraction of each class's training images held out if the reader has no val split.
        on_corrupt_image: "use", "skip" or "error", see `ImageDataset`.
        decode: "full", or "reduced": decode training JPEGs at 1/2, 1/4 or 1/8 as long as no side falls below `resize`.
        augmentation: steps of albumentations or torchvision for training images; None for the paper's.
        augment: run the augmentation in the "workers" or on the "device". The device gives the same images, but only knows
            the paper's augmentation.
        shards: folder or address of the training images as shards, see `Shards`; None for image files.
        merge_classes: table of classes to merge, see `ClassMerging`; None for the data set's own.
        seed: of the held-out split and of the order of training images.

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
        augmentation: Sequence[Any] | None,
        augment: str,
        shards: str | None,
        merge_classes: str | None,
        seed: int,
    ) -> None:
        super().__init__()
        for key, value, choices in (("decode", decode, DECODE), ("augment", augment, AUGMENT)):
            if value not in choices:
                raise UserError(f"data.{key}={value}: choose {' or '.join(choices)}")
        if not 0 < crop <= resize:
            raise UserError(
                f"dataset.crop={crop} and dataset.resize={resize}: the crop must fit into the resized image"
            )
        if not 0 < val_fraction < 1:
            raise UserError(f"data.val_fraction={val_fraction:g}: choose a fraction between 0 and 1")
        if worker_timeout < 0:
            raise UserError(f"data.worker_timeout={worker_timeout:g}: choose seconds, or 0 to wait for ever")
        if augment == "device" and augmentation is not None and not is_paper_augmentation(augmentation, resize, crop):
            raise UserError("data.augment=device only supports augmentation=paper; choose data.augment=workers")
        self.reader, self.resize, self.crop, self.worker_timeout = reader, resize, crop, worker_timeout
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.val_fraction, self.on_corrupt_image, self.seed = val_fraction, on_corrupt_image, seed
        self.decode, self.augmentation, self.augment, self.shards = decode, augmentation, augment, shards
        self.merge_classes = merge_classes
        self.records: dict[str, Records] = {}
        self.source: Source | None = None  # of the training images
        self.truncated: dict[str, TruncatedImages] = {}  # by split; empty unless such images are used
        self.seeds: SeedMasks | None = None  # of the training images, for seeded guidance
        self.pseudo_boxes = ""  # the score map, or the file, whose boxes stand in for ground truth on val
        self.begin = (0, 0)

    def fast_forward(self, epoch: int, batch: int) -> None:
        """Start at a batch of an epoch, without loading the images before it."""
        self.begin = (epoch, batch)

    def prepare_data(self) -> None:
        """Create the files that a reader creates on first use (one process per machine)."""
        self.reader()

    def setup(self, stage: str | None = None) -> None:
        """Read the records, once.

        Raises:
            UserError: a split has no image, or the table of merged classes is wrong.
        """
        if self.records:
            return
        splits = self.reader()
        train, val, rows = splits.train, splits.val, np.arange(len(splits.train))
        if val is None:
            rows, held_out = stratified_holdout(train, self.val_fraction, self.seed)
            train, val = splits.train.take(rows), splits.train.take(held_out)
        if self.shards is not None:
            self.source = ShardedImages(Shards(self.shards, splits.train, self.resize), rows)
        records = {"train": train, "val": val, "test": splits.test}
        if empty := [split for split, of_split in records.items() if not len(of_split)]:
            total = sum(len(of_split) for of_split in records.values())
            raise UserError(
                f"{total} images leave none for {' and '.join(empty)}; add images, or give {empty[0]} a larger fraction"
            )
        if self.merge_classes is not None:  # after the holdout: the images of a split do not depend on the table
            merging = ClassMerging.read(self.merge_classes, train.class_names)
            records = {split: merging(of_split) for split, of_split in records.items()}
        self.records = records
        if self.on_corrupt_image == "use":
            self.truncated = {split: TruncatedImages(len(of_split)) for split, of_split in records.items()}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        self.setup()
        return self.records["train"].class_names

    @property
    def frame(self) -> tuple[int, int]:
        """Width and height of the network's input, in which boxes are compared."""
        return self.crop, self.crop

    def ground_truth(self, split: str, indices: Sequence[int]) -> list[Int[np.ndarray, "_ 4"]]:
        """Return the boxes of images of a split, scaled to the frame."""
        dataset = self.dataset(split)
        return [dataset.true_boxes(index) for index in indices]

    def files(self, split: str, at_least: int | None = None) -> ImageFiles:
        """Return the files of a split's images, see `read_image` for `at_least`."""
        return ImageFiles(self.records[split], at_least, self.truncated.get(split))

    def truncated_images(self) -> list[Path]:
        """Return the files that are cut off at their end, of those that were read so far, of all processes."""
        found = [(split, index) for split, images in self.truncated.items() for index in images.indices()]
        processes = self._processes()[1]
        if processes > 1:
            gathered: list[list[tuple[str, int]]] = [[]] * processes
            torch.distributed.all_gather_object(gathered, found)
            found = sorted({image for of_process in gathered for image in of_process})
        return [self.records[split].root / self.records[split].images[index] for split, index in found]

    def dataset(self, split: str) -> ImageDataset:
        """Return the images of a split as evaluation sees them."""
        return ImageDataset(
            self.records[split], test_transform(self.crop), self.on_corrupt_image, with_masks=True,
            source=self.files(split), frame=self.frame,
        )  # fmt: skip

    def train_dataset(self, with_boxes: bool = False) -> ImageDataset:
        """Return the training images as training sees them: without masks, and with boxes only on request.

        Raises:
            UserError: the augmentation gives images of another size than the network's input.
        """
        records, on_device = self.records["train"], self.augment == "device"
        if on_device:
            transform = resize_transform(self.resize)
        elif self.augmentation is None:
            transform = train_transform(self.resize, self.crop)
        else:
            transform = augmentation_transform(self.augmentation, self.resize, self.crop)
        return ImageDataset(
            records,
            transform,
            self.on_corrupt_image,
            with_masks=False,
            with_boxes=with_boxes,
            source=self.source or self.files("train", self.resize if self.decode == "reduced" else None),
            windows=Windows(self.resize, self.crop) if on_device else None,
            seeds=self.seeds,
        )

    def transfer_batch_to_device(self, batch: Batch | None, device: torch.device, dataloader_idx: int) -> Batch | None:
        """Send images and labels. The host counts indices, boxes and masks. Lightning calls this."""
        if batch is None:
            return None
        sent: dict[str, torch.Tensor | None] = {"image": batch["image"], "label": batch["label"]}
        if self.seeds is not None and self.trainer is not None and self.trainer.training:
            sent["mask"] = batch["mask"]
        return batch | super().transfer_batch_to_device(sent, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Batch | None, dataloader_idx: int) -> Batch | None:
        """Crop the windows that the workers left to the device. Lightning calls this."""
        return None if batch is None else cut_windows(batch, self.crop)

    def train_dataloader(self) -> "DataLoader[Batch]":
        """Return shuffled batches of equal size; drops the incomplete final batch.

        Images, crops and flips of a step depend on the seed only: several processes share the batch of a single one.
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
                f"dataset.batch_size={self.batch_size} is more than the {len(dataset)} training images; choose a smaller one"
            )
        per_process = self.batch_size // processes
        indices = ProcessSampler(len(dataset), rank, processes, shuffle_seed=self.seed, places=self._places())
        indices.fast_forward(self.begin[0], self.begin[1] * per_process)
        return self._loader(dataset, SeededSampler(indices, self.seed), per_process, drop_last=True)

    def val_dataloader(self) -> "DataLoader[Batch]":
        """Return the validation images, each once over all processes."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> "DataLoader[Batch]":
        """Return the test images, each once over all processes."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> "DataLoader[Batch]":
        dataset, (rank, processes) = self.dataset(split), self._processes()
        if len(dataset) < processes:
            raise UserError(
                f"{processes} processes for {len(dataset)} {split} images: each needs one; use fewer processes"
            )
        return self._loader(dataset, ProcessSampler(len(dataset), rank, processes), self.eval_batch_size)

    def _loader(
        self, dataset: ImageDataset, sampler: "Sampler", batch_size: int, drop_last: bool = False
    ) -> "DataLoader[Batch]":
        single = self._processes()[1] == 1
        # Each start of a loader draws a number, and a resumed run starts more of them. Drawn from torch's global generator,
        # it would change dropout. Nothing reads it: an image's seed comes with its index.
        generator = torch.Generator().manual_seed(self.seed)
        if self.num_workers:
            # A forked worker inherits OpenCV's thread pool without its threads and would wait for them for ever.
            cv2.setNumThreads(1)
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            timeout=self.worker_timeout if self.num_workers else 0,
            collate_fn=collate if single or not drop_last else collate_nonempty,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=worker_init_fn,
            generator=generator,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def _places(self) -> Int[np.ndarray, " n"] | None:
        """Return the chunk of each training image if chunks must be fetched."""
        if isinstance(self.source, ShardedImages) and self.source.shards.is_remote:
            return self.source.shards.chunk_of(self.source.rows)
        return None

    def _processes(self) -> tuple[int, int]:
        """Return this process's rank and the number of processes."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
