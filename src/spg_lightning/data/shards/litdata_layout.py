"""Adapter to litdata's layout: its writer, its index, and the position of an item in a chunk.

A chunk holds the number of items, their offsets, then the items; each item here is one JPEG after its length. litdata's own
reader fetches ahead in its own order, with threads and deletions; random access needs two reads of a file.
`tests/data/shards/test_litdata_layout.py` names what changed if a new version of litdata writes another layout.
"""

import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from spg_lightning.errors import UserError

INDEX = "index.json"
CHUNK_BYTES = 16 << 20  # about 400 images of 256 x 256: one request to an object storage, a small part of a cache


@dataclass(frozen=True)
class Chunk:
    """A file of items.

    Attributes:
        name: of the file.
        size: in bytes.
        items: their number.
    """

    name: str
    size: int
    items: int


def write_items(folder: Path, items: Iterable[bytes]) -> None:
    """Write items to chunks in an existing folder, with their index.

    Raises:
        UserError: litdata is not installed.
    """
    try:
        from litdata.streaming.writer import BinaryWriter
    except ImportError:
        raise UserError("writing shards needs litdata: pip install '.[shards]' (in the checkout)") from None
    writer = BinaryWriter(str(folder), chunk_bytes=CHUNK_BYTES)
    for index, item in enumerate(items):
        writer[index] = item
    writer.done()
    writer.merge(1)


def parse_index(content: bytes) -> list[Chunk]:
    """Return the chunks that an index lists.

    Raises:
        ValueError, KeyError, TypeError: the content is not an index.
    """
    chunks = json.loads(content)["chunks"]
    return [Chunk(chunk["filename"], int(chunk["chunk_bytes"]), int(chunk["chunk_size"])) for chunk in chunks]


def read_item(file: BinaryIO, item: int) -> bytes:
    """Return one item of an open chunk; an incomplete one if the file is too short."""
    begin, end = struct.unpack("<II", os.pread(file.fileno(), 8, 4 + 4 * item).ljust(8, b"\0"))
    return os.pread(file.fileno(), end - begin, begin)[4:]  # after the item's length
