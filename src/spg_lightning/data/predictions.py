"""Read predicted classes from a file: <image id>,<most probable class>[,<second>, ...]."""

from pathlib import Path

from spg_lightning.data.benchmark import natural, read_table, require_rows
from spg_lightning.errors import UserError


def read_predictions(path: str | Path, image_ids: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return each image's classes (indices from 0), the most probable first.

    Raises:
        UserError: the file is missing, a row cannot be read (file and line are named), or an image has no row.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"predictions={path} is missing; give a file of rows <image id>,<class>,<second class>, ...")
    table = read_table(file, None, lambda words: tuple(natural(word) for word in words[1:]))
    require_rows(file, image_ids, table)
    return table
