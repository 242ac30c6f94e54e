"""Score maps of any method on disk: one .npy file an image."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from spg_lightning.data.records import drop_image_extension
from spg_lightning.errors import UserError
from spg_lightning.utils.limits import MOST_MAP_VALUES

SHOWN = 3  # how many missing files an error names
# NumPy reads a header with Python's parser, which fails now and then in several threads at once: "AST constructor recursion depth
# mismatch" (seen with Python 3.11.7)
_parsing = Lock()


def find_maps(folder: str | Path, image_ids: Sequence[str]) -> list[Path]:
    """Return each image's file: <image id>.npy, with the id's slashes, with or without its image ending.

    Raises:
        UserError: maps are missing (the text says how many and names the first), or two images have the same.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"maps={folder} is not a folder; give the one with the .npy maps")
    found: dict[Path, str] = {}
    missing = []
    for image_id in image_ids:
        names = dict.fromkeys((f"{image_id}.npy", f"{drop_image_extension(image_id)}.npy"))
        path = next((root / name for name in names if (root / name).is_file()), None)
        if path is None:
            missing.append([*names][-1])
        elif path in found:
            raise UserError(
                f"{path} is the map of both {found[path]} and {image_id}; name it <image id with its ending>.npy"
            )
        else:
            found[path] = image_id
    if missing:
        raise UserError(
            f"maps={folder}: {len(missing)} of {len(image_ids)} maps are missing, first: {', '.join(missing[:SHOWN])}; "
            "write them, or take their images out of the ground truth"
        )
    return [*found]


def read_map(path: Path) -> np.ndarray:
    """Return a map as float32 or float64; what is not of floats, as stored.

    Raises:
        UserError: no readable array. Shape and values are checked where the map is scanned.
    """
    try:
        # mapped first: NumPy refuses there, before it allocates, a shape that the file is too small for
        with _parsing:
            score_map = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises many types for damaged files
        raise UserError(f"{path} is not a readable .npy array of numbers; write it again with numpy.save") from error
    if not isinstance(score_map, np.ndarray):
        raise UserError(f"{path} is an archive of arrays; save one array a file with numpy.save")
    if score_map.size > MOST_MAP_VALUES:
        raise UserError(f"{path} has the shape {score_map.shape}; a score map has at most {MOST_MAP_VALUES} values")
    score_map = np.array(score_map)
    if not np.issubdtype(score_map.dtype, np.floating):
        return score_map
    # converts all precisions and byte orders but the two common ones
    return score_map.astype(np.float32 if score_map.dtype.itemsize <= 4 else np.float64, copy=False)
