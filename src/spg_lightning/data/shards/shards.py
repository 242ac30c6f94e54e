"""Training images at their training size in few large files: written by `prepare shards=true`, read at random.

A folder holds chunks and index.json in litdata's layout, and shards.index.json, see `Manifest`. It is written under a
temporary name and renamed when complete. Item i is training image i of the records; labels and boxes stay in the records.
Images are read by index, so that samplers, and the images of each step, are the same as with image files.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from spg_lightning.data.images import ImageFiles
from spg_lightning.data.jpeg import decode_jpeg
from spg_lightning.data.packed_strings import PackedStrings
from spg_lightning.data.records import Records
from spg_lightning.data.shards.litdata_layout import INDEX, Chunk, parse_index, read_item, write_items
from spg_lightning.data.shards.shard_folder import ShardFolder
from spg_lightning.errors import UserError, first_line

FORMAT = 1
MANIFEST = "shards.index.json"
QUALITY = 95  # of the JPEG items: a fifth of the size of raw pixels (experiments/input_speed)
AHEAD = 64  # images that the threads may be ahead of the writer
_WRITE_AGAIN = "write it again with spg-prepare shards=true, or train from the files with dataset.shards=null"


@dataclass(frozen=True)
class Manifest:
    """The content of a folder of shards.

    Attributes:
        format: of the folder.
        images: number of images.
        resize: side of the images in pixels.
        records: hash of their records, see `hash_records`.
    """

    format: int
    photos: int
    resize: int
    records: str


def hash_records(records: Records) -> str:
    """Return a hash of the images of records, their order and their sizes."""
    names = PackedStrings.of(records.images)
    state = hashlib.sha256(f"{len(records)} {records.apply_exif_orientation}".encode())
    for column in (names.text, names.offsets - names.offsets[0], records.sizes):
        state.update(np.ascontiguousarray(column).tobytes())
    return state.hexdigest()


def write_shards(
    records: Records, resize: int, folder: Path, workers: int, advance: Callable[[int], None]
) -> tuple[int, int]:
    """Write the images of records, completely or not at all.

    Args:
        records: all training images, before any are held out.
        resize: side in pixels; images are resized as in `train_transform`.
        folder: must not exist.
        workers: threads that decode and encode.
        advance: receives the number of images done since its last call.

    Returns:
        The numbers of files and bytes.

    Raises:
        UserError: an image is corrupt, the folder exists or cannot be written, or litdata is not installed.
    """
    if folder.exists():
        raise UserError(f"{folder} exists, with other content; move it away, or set another dataset.shards")
    temporary = folder.with_name(f".{folder.name}-unfinished")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_items(temporary, _encoded(records, resize, workers, advance))
        manifest = Manifest(FORMAT, len(records), resize, hash_records(records))
        (temporary / MANIFEST).write_text(json.dumps(asdict(manifest)) + "\n")
        files = list(temporary.iterdir())
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())  # the new name must not stand for bytes that never reached the disk
        size = sum(path.stat().st_size for path in files)
        temporary.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or first_line(error)}); make room, or set dataset.shards"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(files), size


def _encoded(records: Records, resize: int, workers: int, advance: Callable[[int], None]) -> Iterator[bytes]:
    read = ImageFiles(records)

    def encode(index: int) -> bytes:
        pixels = cv2.resize(read(index), (resize, resize), interpolation=cv2.INTER_LINEAR)
        done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        return data.tobytes()

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(records), AHEAD):  # in pieces: a million waiting results would fill the memory
            for item in pool.map(encode, range(start, min(start + AHEAD, len(records)))):
                yield item
                advance(1)


class Shards:
    """The images of a folder of shards: index in the records -> pixels.

    Args:
        address: see `ShardFolder`.
        records: all training images, before any are held out.
        resize: required side of the images in pixels.

    Raises:
        UserError: the folder is incomplete, or holds other images or another size.
    """

    def __init__(self, address: str, records: Records, resize: int) -> None:
        self.folder = ShardFolder(address)
        manifest, self.chunks = self._read()
        for name, wanted, found in (
            ("format", FORMAT, manifest.format),
            ("photos", len(records), manifest.photos),
            ("resize", resize, manifest.resize),
        ):
            if wanted != found:
                raise UserError(
                    f"dataset.shards={address} has {name}={found}, this run {name}={wanted}; {_WRITE_AGAIN}"
                )
        if manifest.records != hash_records(records):
            raise UserError(f"dataset.shards={address} holds other images, or another order; {_WRITE_AGAIN}")
        self.ends = np.cumsum([chunk.items for chunk in self.chunks], dtype=np.int64)
        if not len(self.ends) or self.ends[-1] != manifest.photos:
            raise UserError(f"dataset.shards={address}: {INDEX} does not fit {MANIFEST}; {_WRITE_AGAIN}")
        for chunk in self.chunks:
            self.folder.check(chunk.name, chunk.size)

    def _read(self) -> tuple[Manifest, list[Chunk]]:
        try:
            manifest, index = self.folder.read(MANIFEST), self.folder.read(INDEX)
            self.folder.identify(manifest + index)
            return Manifest(**json.loads(manifest)), parse_index(index)
        except (OSError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"dataset.shards={self.folder.address} has no complete shards; {_WRITE_AGAIN}") from error

    @property
    def is_remote(self) -> bool:
        """Whether chunks are fetched on demand; a sampler should then request images of one chunk close together."""
        return self.folder.is_remote

    def chunk_of(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the chunk of each image."""
        return np.searchsorted(self.ends, rows, side="right")

    def __call__(self, row: int) -> UInt8[np.ndarray, "Y X 3"]:
        """Return an image as RGB.

        Raises:
            UserError: its chunk is missing or damaged.
        """
        number = int(np.searchsorted(self.ends, row, side="right"))
        chunk, first = self.chunks[number], int(self.ends[number - 1]) if number else 0
        with self.folder.open(chunk.name, chunk.size) as file:
            data = read_item(file, row - first)
        pixels = decode_jpeg(data, apply_exif_orientation=False, at_least=None)
        if pixels is None:
            raise UserError(f"image {row} in {self.folder.address}/{chunk.name} is damaged; {_WRITE_AGAIN}")
        return pixels


class ShardedImages:
    """A subset of the images of shards: index -> pixels.

    Args:
        shards: of all training images.
        rows: of the subset.
    """

    def __init__(self, shards: Shards, rows: Int[np.ndarray, " n"]) -> None:
        self.shards, self.rows = shards, rows

    def __call__(self, index: int) -> UInt8[np.ndarray, "Y X 3"]:
        """Return an image as RGB."""
        return self.shards(int(self.rows[index]))
