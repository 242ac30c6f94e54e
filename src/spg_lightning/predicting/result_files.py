"""The results of a prediction: rows on disk, read as they are needed, and their final file."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from spg_lightning.predicting.journal import Journal
from spg_lightning.predicting.rows import ImageRow, Prediction
from spg_lightning.utils.atomic import atomically

PREDICTIONS = "predictions.json"


class Predictions:
    """All predictions of a run. Iterating reads them from disk, image by image.

    Attributes:
        folder: of the files.
        images: paths, in order.
    """

    def __init__(self, folder: Path, images: Sequence[str], journal: Journal) -> None:
        self.folder, self.images, self._journal = folder, images, journal

    def __iter__(self) -> Iterator[Prediction]:
        """Yield each object of each image."""
        for row in self.rows:
            yield from row.objects

    def named_rows(self) -> Iterator[tuple[str, ImageRow]]:
        """Yield name of the results and row of each image that could be read."""
        return self._journal.rows(self.images)

    @property
    def rows(self) -> "Rows":
        """The rows of all images that could be read; can be iterated several times."""
        return Rows(self)


class Rows:
    """The rows of a prediction, without the names of their files."""

    def __init__(self, predictions: Predictions) -> None:
        self._predictions = predictions

    def __iter__(self) -> Iterator[ImageRow]:
        """Yield the row of each image."""
        for _, row in self._predictions.named_rows():
            yield row


def write_predictions(predictions: Predictions) -> int:
    """Write predictions.json, a row an object, and return the number of rows."""
    count = 0
    with atomically(predictions.folder / PREDICTIONS, "w", encoding="utf-8") as file:
        for prediction in predictions:
            file.write(",\n" if count else "[\n")
            file.write(json.dumps(prediction.as_row(), allow_nan=False))
            count += 1
        file.write("\n]\n" if count else "[]\n")
    return count
