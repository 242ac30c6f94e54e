"""Decode and resize the images of `predict` in other processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import DataLoader, Dataset

from spg_lightning.data.decode import read_image
from spg_lightning.data.images import ON_CORRUPT_IMAGE
from spg_lightning.data.samplers import worker_init_fn
from spg_lightning.data.validation.image_sizes import size_of
from spg_lightning.errors import UserError
from spg_lightning.localizer import resize_to_square
from spg_lightning.reporting.overlay import resize_down

DECODE = ("full", "reduced")


@dataclass(frozen=True)
class LoadedImage:
    """One image, ready for the network.

    Attributes:
        index: in the list of images.
        size: width and height in pixels, turned as its EXIF orientation says.
        frame: at the network's input size.
        photo: for pictures, at most `photo_side` pixels; None without pictures.
        error: why it could not be read; "" if it could.
        is_truncated: whether its file is cut off at the end.
    """

    index: int
    size: tuple[int, int] = (0, 0)
    frame: UInt8[np.ndarray, "S S 3"] | None = None
    photo: UInt8[np.ndarray, "y x 3"] | None = None
    error: str = ""
    is_truncated: bool = False


class ImageFrames(Dataset):
    """The images of a list.

    Args:
        paths: of the files.
        crop: side of the network's input in pixels.
        photo_side: longer side of the pictures to draw on; None for the image's own size, 0 for no pictures.
        decode: "full" reads every pixel, as evaluation does; "reduced" lets JPEG decoders skip detail that resizing removes.
        apply_exif_orientation: turn images as their EXIF orientation says.
        on_corrupt_image: "use" reads files that are cut off at their end as far as they go; otherwise they have an error.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        crop: int,
        photo_side: int | None,
        decode: str,
        apply_exif_orientation: bool = True,
        on_corrupt_image: str = "use",
    ) -> None:
        if decode not in DECODE:
            raise UserError(f"decode={decode}: choose {' or '.join(DECODE)}")
        if on_corrupt_image not in ON_CORRUPT_IMAGE:
            raise UserError(f"on_corrupt_image={on_corrupt_image}: choose use, skip or error")
        self.paths, self.crop, self.photo_side, self.decode = paths, crop, photo_side, decode
        self.apply_exif_orientation, self.uses_truncated = apply_exif_orientation, on_corrupt_image == "use"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> LoadedImage:
        """Return one image; a file that cannot be read gives its error."""
        at_least = None if self.decode == "full" or self.photo_side is None else max(self.crop, self.photo_side)
        truncated: list[int] = []
        take = partial(truncated.append, index) if self.uses_truncated else None
        try:
            pixels = read_image(self.paths[index], self.apply_exif_orientation, at_least, take)
            size = (pixels.shape[1], pixels.shape[0])
            if at_least is not None:
                found = size_of(self.paths[index], self.apply_exif_orientation)
                if isinstance(found, str):
                    raise UserError(found)
                size = found
        except (UserError, MemoryError, RecursionError) as error:
            return LoadedImage(index, error=str(error) or type(error).__name__)
        photo = None
        if self.photo_side != 0:
            photo = pixels if self.photo_side is None else resize_down(pixels, self.photo_side)
        return LoadedImage(index, size, resize_to_square(pixels, self.crop), photo, is_truncated=bool(truncated))


def load_batches(frames: ImageFrames, batch_size: int, num_workers: int) -> Iterator[list[LoadedImage]]:
    """Yield the images in order, in batches, decoded by `num_workers` processes; 0: by this one."""
    loader = DataLoader(
        frames,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=worker_init_fn if num_workers else None,
    )
    yield from loader
