"""Which images were cut off at their end, over all epochs and loader processes, for one warning in all."""

from collections.abc import Sequence
from pathlib import Path

import torch

from spg_lightning.utils.plural import plural

SHOWN = 3  # how many files a warning names


class TruncatedImages:
    """The images of a split that were read and are cut off at their end.

    Args:
        count: of the split's images.
    """

    def __init__(self, count: int) -> None:
        self._is_truncated = torch.zeros(count, dtype=torch.bool)
        self._is_truncated.share_memory_()  # type: ignore[no-untyped-call]  # loader processes write it, too

    def add(self, index: int) -> None:
        """Add an image."""
        self._is_truncated[index] = True

    def indices(self) -> list[int]:
        """Return the images so far."""
        found: list[int] = self._is_truncated.nonzero()[:, 0].tolist()
        return found


def truncation_warning(paths: Sequence[Path], key: str) -> str:
    """Return the line that names images that are cut off at their end.

    Args:
        paths: of the files.
        key: of the setting that leaves them out.
    """
    shown = ", ".join(map(str, paths[:SHOWN]))
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return (
        f"{plural(len(paths), 'image')} cut off at the end, and read as far as the file goes: {shown}{more}; "
        f"restore {'it' if len(paths) == 1 else 'them'}, or leave such images out with {key}=skip"
    )
