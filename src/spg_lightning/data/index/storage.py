"""A data set's records in one file that is mapped into memory, not read: start-up takes no time, workers share the pages.

b"SPGINDEX", the header's length as 8 bytes, the header as JSON, then the columns, each at a multiple of 64 bytes. It is
written under another name and renamed at the end, and says how long it is and what it was made from: one that is half
written, or older than the lists it was made from, is never used.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spg_lightning.data.index import cache
from spg_lightning.data.packed_strings import PackedStringLists, PackedStrings
from spg_lightning.data.records import Records, Splits
from spg_lightning.errors import UserError

MAGIC, ALIGN = b"SPGINDEX", 64
COLUMNS = ("labels", "sizes", "boxes", "box_offsets")
PARTS = ("train", "val", "test")


def save_index(root: Path, name: str, fingerprint: str, splits: Splits) -> Path:
    """Write an index, whole or not at all, and return where it is.

    Args:
        root: of the data set.
        name: of the file.
        fingerprint: of what the records were made from.
        splits: the records.

    Raises:
        UserError: it cannot be written.
    """
    header: dict[str, Any] = {"fingerprint": fingerprint, "parts": {}}
    arrays: list[np.ndarray] = []
    end = 0
    for part in PARTS:
        records: Records | None = getattr(splits, part)
        if records is None:
            continue
        columns = {}
        for column, array in _columns(records).items():
            columns[column] = [array.dtype.str, list(array.shape), end]
            arrays.append(array)
            end += -(-array.nbytes // ALIGN) * ALIGN
        header["parts"][part] = {
            "root": str(records.root.absolute()), "class_names": records.class_names, "mask_above": records.mask_above,
            "apply_exif_orientation": records.apply_exif_orientation, "columns": columns,
        }  # fmt: skip
    header["bytes"] = end
    return cache.write(root, name, _pieces(header, arrays))


def load_index(path: Path, fingerprint: str) -> Splits | None:
    """Return the records of an index, None where it is no whole one, or not of this fingerprint."""
    opened = _open(path)
    if opened is None or opened.header["fingerprint"] != fingerprint:
        return None
    parts = {part: opened.records(path, part) for part in opened.header["parts"]}
    return Splits(train=parts["train"], val=parts.get("val"), test=parts["test"])


def load_part(path: Path, fingerprint: str, part: str) -> Records:
    """Return one part of an index: how records come to another process, instead of a copy of them.

    Raises:
        UserError: the index is no longer the one it was.
    """
    opened = _open(path)
    if opened is None or opened.header["fingerprint"] != fingerprint:
        raise UserError(f"{path} was changed while it was in use; start again")
    return opened.records(path, part)


@dataclass(frozen=True)
class _Opened:
    header: dict[str, Any]
    body: np.ndarray  # a memory map of bytes

    def records(self, path: Path, part: str) -> Records:
        node = self.header["parts"][part]
        columns = {}
        for column, (dtype, shape, start) in node["columns"].items():
            size = int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64))
            columns[column] = self.body[start : start + size].view(dtype).reshape(shape)
        masks: Any = ()
        if "masks" in columns:
            masks = PackedStringLists(PackedStrings(columns["masks"], columns["masks_ends"]), columns["masks_groups"])
        return Records(
            root=Path(node["root"]),
            images=PackedStrings(columns["images"], columns["images_ends"]),
            **{column: columns[column] for column in COLUMNS},
            class_names=tuple(node["class_names"]),
            masks=masks,
            ignored=PackedStrings(columns["ignored"], columns["ignored_ends"]) if "ignored" in columns else (),
            mask_above=node["mask_above"],
            apply_exif_orientation=node["apply_exif_orientation"],
            origin=(load_part, (path, self.header["fingerprint"], part)),
        )


def _columns(records: Records) -> dict[str, np.ndarray]:
    images = PackedStrings.of(records.images)
    columns = {"images": images.text, "images_ends": images.offsets}
    columns |= {column: getattr(records, column) for column in COLUMNS}
    if records.masks:
        masks = PackedStringLists.of(records.masks)
        columns |= {"masks": masks.names.text, "masks_ends": masks.names.offsets, "masks_groups": masks.offsets}
    if records.ignored:
        ignored = PackedStrings.of(records.ignored)
        columns |= {"ignored": ignored.text, "ignored_ends": ignored.offsets}
    return {column: np.ascontiguousarray(array) for column, array in columns.items()}


def _pieces(header: dict[str, Any], arrays: list[np.ndarray]) -> Iterator[bytes]:
    text = json.dumps(header).encode()
    text += b" " * (-(len(MAGIC) + 8 + len(text)) % ALIGN)
    yield MAGIC + len(text).to_bytes(8, "little") + text
    for array in arrays:
        yield array.tobytes()
        yield bytes(-array.nbytes % ALIGN)


def _open(path: Path) -> _Opened | None:
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        start = len(MAGIC) + 8 + length
        if path.stat().st_size != start + header["bytes"]:
            return None
        return _Opened(header, np.memmap(path, np.uint8, "r", offset=start, shape=(header["bytes"],)))
    except (OSError, ValueError, KeyError):
        return None
