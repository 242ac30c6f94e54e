"""The interface of every writer of annotation files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from spg_lightning.predicting.rows import ImageRow

Rows = Iterable[ImageRow]


class Writer(Protocol):
    """Writes all predictions of a run in one format."""

    def write(self, folder: Path, rows: Rows, class_names: Sequence[str]) -> None:
        """Write the files of the format, each atomically (`utils.atomic.atomically`).

        Args:
            folder: the output folder of the prediction.
            rows: of all images; may be iterated several times, and does not fit into memory.
            class_names: in the order of the class indices.
        """
        ...
