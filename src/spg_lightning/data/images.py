"""A torch data set over records: decode, transform, name what is broken."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from jaxtyping import Int, Int8, UInt8
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from spg_lightning.data.decode import read_image
from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.data.records import Records
from spg_lightning.data.seed_maps import SeedMasks
from spg_lightning.data.transforms import Transform, Window, seed_transform
from spg_lightning.data.truncated_images import TruncatedImages
from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import scale_boxes

log = logging.getLogger(__name__)
ON_CORRUPT_IMAGE = ("use", "skip", "error")


class SampleKey(NamedTuple):
    """What a training sample depends on: its index, the seed of its transforms, and the epoch, which selects its seed mask."""

    row: int
    seed: int | None = None
    epoch: int = 0


class Sample(TypedDict):
    """One image at the network's input size.

    Attributes:
        image: (3, Y, X) uint8 RGB.
        image_id: path below the data set's root.
        label: class index.
        index: in the records.
        boxes: (n, 4) float32 x0 y0 x1 y1 after the transform, without boxes that the crop cut away.
        true_boxes: (n, 4) integers, the ground truth scaled to the frame of the evaluation; empty in training.
        mask: (Y, X) int8, 1 object, 0 background, -1 ignored, or None: the ground truth, in training a seed mask.
        window: still to be cut out of image, boxes and mask, or None.
    """

    image: Tensor
    image_id: str
    label: int
    index: int
    boxes: Tensor
    true_boxes: Int[np.ndarray, "n 4"]
    mask: Tensor | None
    window: Window | None


class Batch(TypedDict):
    """Collated samples: image (B, 3, Y, X), label (B,), index (B,), mask (B, Y, X) or None; the others are lists.

    Images are channels last in memory, as decoded.
    """

    image: Tensor
    image_id: list[str]
    label: Tensor
    index: Tensor
    boxes: list[Tensor]
    true_boxes: list[Int[np.ndarray, "n 4"]]
    mask: Tensor | None
    window: list[Window] | None


Source = Callable[[int], UInt8[np.ndarray, "Y X 3"]]


class ImageFiles:
    """The images of records from their files: index -> pixels.

    Args:
        records: the images.
        at_least: see `read_image`.
        truncated: takes the images that are cut off at their end, which are then read as far as they go; None: they are broken.
    """

    def __init__(self, records: Records, at_least: int | None = None, truncated: TruncatedImages | None = None) -> None:
        self.records, self.at_least, self.truncated = records, at_least, truncated

    def __call__(self, index: int) -> UInt8[np.ndarray, "Y X 3"]:
        """Return an image as RGB."""
        return read_image(
            self.records.root / self.records.images[index],
            self.records.apply_exif_orientation,
            self.at_least,
            None if self.truncated is None else partial(self.truncated.add, index),
        )


class ImageDataset(Dataset):
    """Samples of records.

    Args:
        records: the images.
        transform: a pipeline that boxes and masks follow.
        on_corrupt_image: "skip" warns, naming the file, and gives None; "error" raises `UserError`; "use" reads a file that is
            cut off at its end as far as it goes, and skips one that cannot be decoded at all.
        with_masks: load the masks, where there are any.
        with_boxes: let the boxes follow, which costs time in albumentations (experiments/input_speed); otherwise there are none.
        source: index -> pixels, of any size, which knows what to do with truncated files; None: the files, in full.
        windows: seed -> the window to cut out after `transform`; it is named in the sample, not cut. None: no window.
        frame: width and height that an evaluation compares boxes in; None: samples have no `true_boxes`.
        seeds: give training samples their seed masks.
    """

    def __init__(
        self,
        records: Records,
        transform: Transform,
        on_corrupt_image: str,
        with_masks: bool,
        with_boxes: bool = True,
        source: Source | None = None,
        windows: Callable[[int | None], Window] | None = None,
        frame: tuple[int, int] | None = None,
        seeds: SeedMasks | None = None,
    ) -> None:
        if on_corrupt_image not in ON_CORRUPT_IMAGE:
            raise UserError(f"data.on_corrupt_image={on_corrupt_image}: choose use, skip or error")
        self.records, self.transform, self.on_corrupt_image = records, transform, on_corrupt_image
        self.with_masks, self.with_boxes = with_masks and bool(records.masks), with_boxes
        truncated = TruncatedImages(len(records)) if source is None and on_corrupt_image == "use" else None
        self.source = source or ImageFiles(records, truncated=truncated)
        self.windows, self.frame, self.seeds = windows, frame, seeds

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: int | SampleKey) -> Sample | None:
        """Return a sample, or None for a broken image that is to be skipped.

        Args:
            key: the image's index; with a seed, random transforms depend on nothing else.
        """
        index, seed, epoch = SampleKey(*key) if isinstance(key, tuple) else SampleKey(key)
        if seed is not None:
            seed_transform(self.transform, seed)
        try:
            return self._sample(index, seed, epoch)
        except UserError as error:
            if self.on_corrupt_image == "error":
                raise UserError(f"{error}; restore it, or set data.on_corrupt_image=skip") from error
            log.warning("%s; skipped (data.on_corrupt_image=error stops instead)", error)
            return None

    def true_boxes(self, index: int) -> Int[np.ndarray, "n 4"]:
        """Return the ground-truth boxes of an image, scaled to the frame; none without a frame."""
        if self.frame is None:
            return np.zeros((0, 4), np.int64)
        return scale_boxes(self.records.boxes_of(index), tuple(self.records.sizes[index].tolist()), self.frame)

    def true_mask(self, index: int) -> Int8[Tensor, "Y X"] | None:
        """Return the ground-truth mask of an image as its sample has it, without reading the image; None without masks."""
        if not self.with_masks:
            return None
        width, height = (int(side) for side in self.records.sizes[index])
        mask = read_ternary_mask(self.records, index, (width, height))
        blank = np.zeros((height, width, 3), np.uint8)
        out = self.transform(image=blank, bboxes=np.zeros((0, 4)), box_rows=np.zeros(0, int), mask=mask)
        return torch.from_numpy(np.ascontiguousarray(out["mask"]))

    def _sample(self, index: int, seed: int | None, epoch: int) -> Sample:
        records = self.records
        photo = self.source(index)
        boxes = records.boxes_of(index) if self.with_boxes else np.zeros((0, 4))
        if len(boxes):  # they refer to the image in full
            boxes = boxes * (np.tile(photo.shape[1::-1], 2) / np.tile(records.sizes[index], 2))
        arguments: dict[str, Any] = {"image": photo, "bboxes": boxes, "box_rows": np.arange(len(boxes))}
        size = (photo.shape[1], photo.shape[0])
        if self.seeds is not None:
            arguments["mask"] = self.seeds.mask(index, size, epoch)
        elif self.with_masks:
            arguments["mask"] = read_ternary_mask(records, index, size)
        out = self.transform(**arguments)
        return Sample(
            image=torch.from_numpy(np.ascontiguousarray(out["image"])).permute(2, 0, 1),
            image_id=records.images[index],
            label=int(records.labels[index]),
            index=index,
            boxes=torch.from_numpy(np.asarray(out["bboxes"], dtype=np.float32).reshape(-1, 4)),
            true_boxes=self.true_boxes(index),
            mask=torch.from_numpy(np.ascontiguousarray(out["mask"])) if "mask" in arguments else None,
            window=self.windows(seed) if self.windows else None,
        )


def collate(samples: list[Sample | None]) -> Batch | None:
    """Put samples side by side, without the skipped ones; None where nothing is left."""
    kept = [sample for sample in samples if sample is not None]
    if not kept:
        return None
    masks = [sample["mask"] for sample in kept]
    windows = [sample["window"] for sample in kept]
    return Batch(
        image=stack_images([sample["image"] for sample in kept]),
        image_id=[sample["image_id"] for sample in kept],
        label=torch.tensor([sample["label"] for sample in kept]),
        index=torch.tensor([sample["index"] for sample in kept]),
        boxes=[sample["boxes"] for sample in kept],
        true_boxes=[sample["true_boxes"] for sample in kept],
        mask=None if any(mask is None for mask in masks) else default_collate(masks),
        window=None if None in windows else [window for window in windows if window is not None],
    )


def batches(images: ImageDataset, size: int, indices: Sequence[int] | None = None) -> Iterator[Batch]:
    """Yield images in order, all or those of `indices`, without the corrupt ones, in this process."""
    indices = range(len(images)) if indices is None else indices
    for begin in range(0, len(indices), size):
        batch = collate([images[index] for index in indices[begin : begin + size]])
        if batch is not None:
            yield batch


def stack_images(images: list[UInt8[Tensor, "3 Y X"]]) -> UInt8[Tensor, "B 3 Y X"]:
    """Put images side by side, channels last in memory.

    In a loader's worker `default_collate` writes into shared memory at once. A stack that is moved there when it is sent stays
    behind in the worker, which grew by every batch (tests/data/test_fast_input.py).
    """
    return default_collate([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
