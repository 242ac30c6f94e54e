"""Many short texts in two arrays: file names by the million, shared by worker processes instead of copied."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np
from jaxtyping import Int, UInt8


class PackedStrings(Sequence[str]):
    """A sequence of texts, kept as one run of UTF-8 bytes and where each begins.

    A tuple of a million Python strings takes 100 MB in every process: counting references writes to each of them, so that
    a forked worker gets its own copy. Two arrays, which may be memory maps, take a fifth and stay shared.

    Args:
        text: all bytes.
        offsets: text i is text[offsets[i] : offsets[i + 1]].
    """

    def __init__(self, text: UInt8[np.ndarray, " bytes"], offsets: Int[np.ndarray, " N1"]) -> None:
        self.text, self.offsets = text, offsets

    @classmethod
    def of(cls, names: Iterable[str]) -> "PackedStrings":
        """Return the texts packed; packed ones are returned unchanged."""
        if isinstance(names, cls):
            return names
        encoded = [name.encode() for name in names]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.text[self.offsets[index] : self.offsets[index + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        # in one piece: a million slices of an array are slow
        text, ends = self.text.tobytes(), self.offsets.tolist()
        return (text[start:end].decode() for start, end in pairwise(ends))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedStrings):
            return np.array_equal(self.offsets, other.offsets) and np.array_equal(self.text, other.text)
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash((len(self), self.text[:64].tobytes()))

    def take(self, indices: Int[np.ndarray, " n"]) -> "PackedStrings":
        """Return the texts at `indices`, in that order."""
        rows, offsets = rows_of(self.offsets, indices)
        return PackedStrings(self.text[rows], offsets)


class PackedStringLists(Sequence[tuple[str, ...]]):
    """A sequence of lists of texts, packed: `names[offsets[i] : offsets[i + 1]]` is list i."""

    def __init__(self, names: PackedStrings, offsets: Int[np.ndarray, " N1"]) -> None:
        self.names, self.offsets = names, offsets

    @classmethod
    def of(cls, groups: Sequence[Sequence[str]]) -> "PackedStringLists":
        """Return the lists packed."""
        if isinstance(groups, cls):
            return groups
        offsets = np.cumsum([0, *map(len, groups)], dtype=np.int64)
        return cls(PackedStrings.of(name for group in groups for name in group), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[str, ...], ...]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start, end = self.offsets[:-1][index], self.offsets[1:][index]
        return tuple(self.names[i] for i in range(start, end))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, PackedStringLists | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash((len(self), self.names))

    def take(self, indices: Int[np.ndarray, " n"]) -> "PackedStringLists":
        """Return the lists at `indices`, in that order."""
        rows, offsets = rows_of(self.offsets, indices)
        return PackedStringLists(self.names.take(rows), offsets)


def rows_of(
    offsets: Int[np.ndarray, " N1"], indices: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " n1"]]:
    """Return the rows of the ragged entries at `indices`, one entry after the other, and where each begins among them."""
    indices = np.asarray(indices, dtype=np.int64)
    starts = offsets[indices]
    counts = offsets[indices + 1] - starts
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.repeat(starts - begins[:-1], counts) + np.arange(begins[-1])
    return rows, begins
