"""A torch data set over records: decode, transform, name what is broken."""

import logging
from pathlib import Path
from typing import TypedDict

import albumentations as A
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.data.records import Records
from spg_lightning.errors import UserError

log = logging.getLogger(__name__)
ON_BROKEN = ("skip", "error")
DEEP = ("I;16", "I;16L", "I;16B", "I", "F")  # Pillow's modes of more than 8 bits a pixel


class Sample(TypedDict):
    """One photo as the network's input frame shows it.

    image: (3, Y, X) uint8 RGB. label, index: integers; index counts in the records. boxes: (n, 4) float32 x0 y0 x1 y1 in
    the input frame, without those a crop cut away. mask: (Y, X) int8, 1 object, 0 background, -1 ignored, or None.
    """

    image: Tensor
    label: int
    index: int
    boxes: Tensor
    mask: Tensor | None


class Batch(TypedDict):
    """Samples side by side: image (B, 3, Y, X), label (B,), index (B,), boxes a list, mask (B, Y, X) or None."""

    image: Tensor
    label: Tensor
    index: Tensor
    boxes: list[Tensor]
    mask: Tensor | None


def read_photo(path: Path, upright: bool = False) -> UInt8[np.ndarray, "Y X 3"]:
    """Return a photo as RGB.

    Args:
        path: of the file.
        upright: turn it as its EXIF orientation says; off for data sets whose boxes refer to the pixels as stored, see
            `Records.upright`.

    Grey, CMYK, palette and transparent pictures are converted, 16 bits a pixel scaled to 8, of an animation the first
    picture counts.

    Raises:
        UserError: the file is missing or broken; truncated files count as broken, and so do pixels that are no colours.
    """
    try:
        with Image.open(path) as photo:
            turned = ImageOps.exif_transpose(photo) if upright else photo
            if turned.mode in DEEP:
                turned = _to_8_bits(turned)
            return np.asarray(turned.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} is broken ({str(error).splitlines()[0][:80] if str(error) else 'no photo'})"
        ) from error


def _to_8_bits(photo: Image.Image) -> Image.Image:
    """Scale 16 bits to 8: Pillow would cut off what is above 255, and leave white."""
    values = np.asarray(photo)
    if photo.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"pixels of mode {photo.mode}; save it with 8 or 16 bits a colour")
    return Image.fromarray((values >> 8).astype(np.uint8))


class PhotoDataset(Dataset):
    """Samples of records.

    Args:
        records: the photos.
        transform: an albumentations pipeline that boxes and masks follow.
        on_broken: "skip" warns, naming the file, and gives None; "error" raises `UserError`.
        with_masks: load the masks, where there are any.
    """

    def __init__(self, records: Records, transform: A.Compose, on_broken: str, with_masks: bool) -> None:
        if on_broken not in ON_BROKEN:
            raise UserError(f"data.on_broken={on_broken}: choose skip or error")
        self.records, self.transform, self.on_broken = records, transform, on_broken
        self.with_masks = with_masks and bool(records.masks)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample | None:
        """Return a sample, or None for a broken photo that is to be skipped.

        Args:
            key: the photo's index; or index and seed, for random transforms that depend on nothing else.
        """
        index, seed = key if isinstance(key, tuple) else (key, None)
        if seed is not None:
            self.transform.set_random_seed(seed)
        try:
            return self._sample(index)
        except UserError as error:
            if self.on_broken == "error":
                raise UserError(f"{error}; restore it, or set data.on_broken=skip") from error
            log.warning("%s; skipped (data.on_broken=error stops instead)", error)
            return None

    def _sample(self, index: int) -> Sample:
        records = self.records
        photo = read_photo(records.root / records.images[index], records.upright)
        boxes = records.boxes_of(index)
        arguments = {"image": photo, "bboxes": boxes, "box_rows": np.arange(len(boxes))}
        if self.with_masks:
            arguments["mask"] = read_ternary_mask(records, index, (photo.shape[1], photo.shape[0]))
        out = self.transform(**arguments)
        return Sample(
            image=torch.from_numpy(np.ascontiguousarray(out["image"].transpose(2, 0, 1))),
            label=int(records.labels[index]),
            index=index,
            boxes=torch.from_numpy(np.asarray(out["bboxes"], dtype=np.float32).reshape(-1, 4)),
            mask=torch.from_numpy(np.ascontiguousarray(out["mask"])) if self.with_masks else None,
        )


def collate(samples: list[Sample | None]) -> Batch | None:
    """Put samples side by side, without the skipped ones; None where nothing is left."""
    kept = [sample for sample in samples if sample is not None]
    if not kept:
        return None
    masks = [sample["mask"] for sample in kept]
    return Batch(
        image=torch.stack([sample["image"] for sample in kept]),
        label=torch.tensor([sample["label"] for sample in kept]),
        index=torch.tensor([sample["index"] for sample in kept]),
        boxes=[sample["boxes"] for sample in kept],
        mask=None if any(mask is None for mask in masks) else torch.stack([m for m in masks if m is not None]),
    )
