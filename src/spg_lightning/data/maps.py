"""Score maps of any method on disk: one .npy file an image."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from spg_lightning.errors import UserError

SHOWN = 3  # how many missing files an error names


def find_maps(folder: str | Path, image_ids: tuple[str, ...]) -> list[Path]:
    """Return each image's file: <image id>.npy, with the id's slashes, with or without its own extension.

    Raises:
        UserError: maps are missing; the text says how many and names the first.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"maps={folder} is no folder; give the one with the .npy maps")
    found, missing = [], []
    for image_id in image_ids:
        choices = (root / Path(image_id).with_suffix(".npy"), root / f"{image_id}.npy")
        path = next((p for p in choices if p.is_file()), None)
        if path is None:
            missing.append(str(choices[0].relative_to(root)))
        else:
            found.append(path)
    if missing:
        raise UserError(
            f"maps={folder}: {len(missing)} of {len(image_ids)} maps are missing, first: {', '.join(missing[:SHOWN])}; "
            "write them, or take the images out of image_ids.txt"
        )
    return found


def read_map(path: Path) -> Float[np.ndarray, "Y X"]:
    """Return a map as stored; half precision as float32.

    Raises:
        UserError: no readable array. Shape and values are checked where the map is scanned.
    """
    try:
        score_map = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is no readable .npy array ({str(error).splitlines()[0][:80]})") from error
    if not isinstance(score_map, np.ndarray):
        raise UserError(f"{path} is an archive of arrays; save one array a file with numpy.save")
    return score_map.astype(np.float32) if score_map.dtype == np.float16 else score_map
