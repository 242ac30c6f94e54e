"""The input images of `predict`, and the file names of its results."""

import glob
from pathlib import Path

from spg_lightning.data.records import IMAGE_EXTENSIONS
from spg_lightning.errors import UserError


def find_images(images: str) -> list[Path]:
    """Return the images that a file, a folder (searched recursively) or a glob names, sorted.

    Raises:
        UserError: there is none.
    """
    path = Path(images).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in IMAGE_EXTENSIONS]
        if not found:
            raise UserError(
                f"images={images}: no image in this folder (looked for {', '.join(sorted(IMAGE_EXTENSIONS))})"
            )
    else:
        matches = [Path(file) for file in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (Path.glob wants relative)
        found = [file for file in matches if file.suffix.lower() in IMAGE_EXTENSIONS]
        if not found:
            raise UserError(f"images={images}: no such file or folder, and no image matches it as a glob")
    return sorted(found)


def result_names(images: list[Path]) -> dict[Path, str]:
    """Return a flat, unique file name for each image's results: its last two folders and its name."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in images:
        flat = "_".join(part for part in path.with_suffix("").parts[-3:] if part not in ("/", "..", "."))
        free = (flat, f"{flat}_{path.suffix[1:]}", *(f"{flat}_{k}" for k in range(2, len(images) + 2)))
        names[path] = next(name for name in free if name.lower() not in taken)  # some file systems ignore case
        taken.add(names[path].lower())
    return names
