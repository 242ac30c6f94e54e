"""File names of results, for predictions and galleries alike.

Annotation formats (`predicting/writers/annotations.py`) accept fewer characters and keep folders; the page's files
(`predicting/page.py`) are addresses in a browser.
"""

from collections.abc import Collection
from pathlib import Path

LONGEST_NAME = 200  # bytes: file systems allow 255, and endings follow


def result_name(path: Path, taken: Collection[str]) -> str:
    """Return a flat file name for an image's results: its last two folders and its name.

    Args:
        path: of the image.
        taken: names of other images, in lower case: some file systems ignore case.
    """
    parts = [part for part in path.with_suffix("").parts[-3:] if part not in ("/", "..", ".")]
    flat = "".join("_" if ord(c) < 32 or c in '<>:"|?*\\' else c for c in "_".join(parts))
    flat = flat.encode(errors="surrogateescape")[-LONGEST_NAME:].decode(errors="ignore") or "image"
    if flat.lower() not in taken:
        return flat
    named = f"{flat}_{path.suffix[1:]}"
    return next(
        name for name in (named, *(f"{flat}_{k}" for k in range(2, len(taken) + 3))) if name.lower() not in taken
    )
