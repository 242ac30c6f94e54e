"""Read predicted classes from a file: <image id>,<most probable class>[,<second>, ...]."""

from collections.abc import Callable, Sequence
from pathlib import Path

from jaxtyping import Int, UInt8
from torch import Tensor

from spg_lightning.data.readers.benchmark_metadata import natural, read_table, require_rows
from spg_lightning.data.records import drop_image_extension
from spg_lightning.errors import UserError

OTHER = -1  # a class that the data set does not have
# uint8 RGB images (B, 3, Y, X) and their ids -> class indices of the data set, the most probable first, or OTHER
Ranking = Callable[[UInt8[Tensor, "B 3 Y X"], Sequence[str]], Int[Tensor, "B n"]]


def read_predictions(
    path: str | Path, images: Sequence[str], key: str = "predictions", class_of: Callable[[str], int] = natural
) -> dict[str, tuple[int, ...]]:
    """Return each image's class indices, the most probable first.

    Args:
        path: of the file.
        images: ids of the images that need a row, with or without their extension.
        key: what users call the file.
        class_of: word -> class index; raises `ValueError` for an unknown class. By default the words are indices from 0.

    Raises:
        UserError: the file is missing, a row cannot be read (file and line are named), or an image has no row.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{key}={path} is missing; give a file of rows <image id>,<class>,<second class>, ...")
    table = read_table(file, None, lambda words: tuple(class_of(word) for word in words[1:]))
    bare = {drop_image_extension(image): row for image, row in table.items()}
    found = {image: table.get(image, bare.get(drop_image_extension(image))) for image in images}
    rows = {image: row for image, row in found.items() if row is not None}
    require_rows(file, images, rows)
    return rows
