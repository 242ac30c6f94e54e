"""Training photos at the size training wants them, many to a file: written by `prepare shards=true`, read at random.

<folder>/chunk-0-<n>.bin   chunks as litdata writes them: a count, where each item begins, then the items, JPEG files
<folder>/index.json        litdata's: name, photos and bytes of each chunk
<folder>/shards.index.json ours: what is in them, see `Manifest`

A folder is written under another name and renamed when it is whole. Item i is training photo i of the records; labels, boxes
and everything else stay in the records. Reading asks for a photo by its number, so that samplers, and with them what a step
sees, are the same as with files. litdata's own reader is made for reading in its own order, with threads, locks and counters
that fetch ahead and delete; a number needs two reads of a file.
"""

import hashlib
import json
import os
import shutil
import struct
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
from spg_lightning.data.shards.remote import Folder
from spg_lightning.errors import UserError, first_line

FORMAT = 1
# litdata fetches names that end so without starting threads in the process that forks the workers
MANIFEST, INDEX = "shards.index.json", "index.json"
QUALITY = 95  # of the JPEG files in the chunks: a fifth of what raw pixels take (experiments/input_speed)
CHUNK_BYTES = 16 << 20  # about 400 photos of 256 x 256: one request to an object storage, a small share of a cache
AHEAD = 64  # photos that a thread may be ahead of the writer


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds.

    Attributes:
        format: of the folder.
        photos: how many.
        resize: their sides in pixels.
        records: what tells their records from others, see `records_code`.
    """

    format: int
    photos: int
    resize: int
    records: str


def records_code(records: Records) -> str:
    """Return what tells the photos of these records, their order and their sizes from others."""
    names = PackedStrings.of(records.images)
    state = hashlib.sha256(f"{len(records)} {records.apply_exif_orientation}".encode())
    for column in (names.text, names.offsets - names.offsets[0], records.sizes):
        state.update(np.ascontiguousarray(column).tobytes())
    return state.hexdigest()


def write_shards(
    records: Records, resize: int, folder: Path, workers: int, advance: Callable[[int], None]
) -> tuple[int, int]:
    """Write the photos of records, whole or not at all.

    Args:
        records: all training photos, before anything is held out.
        resize: side in pixels; every photo is resized as `train_transform` does it.
        folder: that does not exist yet.
        workers: threads that decode and encode.
        advance: is told how many photos are done.

    Returns:
        How many files and bytes were written.

    Raises:
        UserError: a photo is broken, the folder is there already or cannot be written, litdata is not installed.
    """
    try:
        from litdata.streaming.writer import BinaryWriter
    except ImportError:
        raise UserError("shards are written with litdata: pip install '.[shards]' (in the checkout)") from None
    if folder.exists():
        raise UserError(
            f"{folder} is there already, and holds other shards; move it away, or name another dataset.shards"
        )
    unfinished = folder.with_name(f".{folder.name}-unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        writer = BinaryWriter(str(unfinished), chunk_bytes=CHUNK_BYTES)
        for index, item in enumerate(_encoded(records, resize, workers)):
            writer[index] = item
            advance(1)
        writer.done()
        writer.merge(1)
        manifest = Manifest(FORMAT, len(records), resize, records_code(records))
        (unfinished / MANIFEST).write_text(json.dumps(asdict(manifest)) + "\n")
        files = list(unfinished.iterdir())
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())  # the name must not stand for bytes that never reached the disk
        written = sum(path.stat().st_size for path in files)
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or first_line(error)}); make room, or set dataset.shards"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return len(files), written


def _encoded(records: Records, resize: int, workers: int) -> Iterator[bytes]:
    read = ImageFiles(records)

    def work(index: int) -> bytes:
        pixels = cv2.resize(read(index), (resize, resize), interpolation=cv2.INTER_LINEAR)
        done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        return data.tobytes()

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(records), AHEAD):  # in pieces: a million waiting results would fill the memory
            yield from pool.map(work, range(start, min(start + AHEAD, len(records))))


class Shards:
    """The photos of a folder of shards, resized: number of the photo -> pixels.

    Args:
        where: folder, or address of one in an object storage (s3://, gs://, ...), whose chunks are kept in the user's cache.
        records: all training photos, before anything is held out.
        resize: side in pixels that the photos have to have.

    Raises:
        UserError: no whole folder of shards, or one of other photos or another size.
    """

    def __init__(self, where: str, records: Records, resize: int) -> None:
        self.folder = Folder.of(where)
        manifest, chunks = self._read()
        for what, wanted, there in (
            ("format", FORMAT, manifest.format),
            ("photos", len(records), manifest.photos),
            ("resize", resize, manifest.resize),
        ):
            if wanted != there:
                raise UserError(f"dataset.shards={where} has {what}={there}, this run {what}={wanted}; {_ANEW}")
        if manifest.records != records_code(records):
            raise UserError(
                f"dataset.shards={where} is of other photos than this data set's, or in another order; {_ANEW}"
            )
        self.names = [str(chunk["filename"]) for chunk in chunks]
        self.sizes = [int(str(chunk["chunk_bytes"])) for chunk in chunks]
        self.ends = np.cumsum([int(str(chunk["chunk_size"])) for chunk in chunks], dtype=np.int64)
        if not len(self.ends) or self.ends[-1] != manifest.photos:
            raise UserError(f"dataset.shards={where}: {INDEX} does not fit {MANIFEST}; {_ANEW}")
        for name, size in zip(self.names, self.sizes, strict=True):
            self.folder.check(name, size)

    def _read(self) -> tuple[Manifest, list[dict[str, object]]]:
        try:
            ours, theirs = self.folder.read(MANIFEST), self.folder.read(INDEX)
            self.folder.identify(ours + theirs)
            return Manifest(**json.loads(ours)), list(json.loads(theirs)["chunks"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"dataset.shards={self.folder.where} holds no whole shards; {_ANEW}") from error

    @property
    def is_remote(self) -> bool:
        """Whether chunks are fetched when they are needed; photos near each other should then be asked for together."""
        return self.folder.is_remote

    def chunk_of(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the chunks that photos are in."""
        return np.searchsorted(self.ends, rows, side="right")

    def __call__(self, row: int) -> UInt8[np.ndarray, "Y X 3"]:
        """Return a photo as RGB.

        Raises:
            UserError: its chunk is missing or broken.
        """
        chunk = int(np.searchsorted(self.ends, row, side="right"))
        item = row - (int(self.ends[chunk - 1]) if chunk else 0)
        with self.folder.open(self.names[chunk], self.sizes[chunk]) as file:
            begin, end = struct.unpack("<II", os.pread(file.fileno(), 8, 4 + 4 * item).ljust(8, b"\0"))
            data = os.pread(file.fileno(), end - begin, begin)[4:]  # litdata puts the length before the bytes
        pixels = decode_jpeg(data, apply_exif_orientation=False, at_least=None)
        if pixels is None:
            raise UserError(f"photo {row} in {self.folder.where}/{self.names[chunk]} is broken; {_ANEW}")
        return pixels


class ShardedImages:
    """Some of the photos of shards: index -> pixels.

    Args:
        shards: of all training photos.
        rows: which of them.
    """

    def __init__(self, shards: Shards, rows: Int[np.ndarray, " n"]) -> None:
        self.shards, self.rows = shards, rows

    def __call__(self, index: int) -> UInt8[np.ndarray, "Y X 3"]:
        """Return a photo as RGB."""
        return self.shards(int(self.rows[index]))


_ANEW = "write them anew with spg-prepare shards=true, or train from the files with dataset.shards=null"
