"""Problems of a data set's files: raise the first, or collect all; and the quarantine of images that are left out."""

import os
from collections.abc import Iterable
from pathlib import Path

from spg_lightning.data.index.cache import find
from spg_lightning.data.text_files import and_n_more, read_lines
from spg_lightning.errors import UserError

QUARANTINE = "quarantine.txt"


class IssueCollector:
    """Receives the problems that a reader finds.

    Args:
        root: of the data set.
        left_out: images in quarantine, relative to `root`.
        collect: collect problems in `found`, and let the reader skip the images; otherwise raise the first.

    Attributes:
        found: problem -> the image (relative to `root`) whose removal solves it, or "".
    """

    def __init__(self, root: Path, left_out: Iterable[str], collect: bool) -> None:
        self.root, self.left_out, self.collect = root, frozenset(left_out), collect
        self.found: dict[str, str] = {}

    @classmethod
    def of(cls, root: Path, collect: bool = False) -> "IssueCollector":
        """Return the collector of a data set, with its quarantine."""
        return cls(root, read_quarantine(root), collect)

    def add(self, text: str, photo: Path | None = None) -> None:
        """Add a problem: one line with the file, the row and the fix."""
        if not self.collect:
            raise UserError(text)
        self.found[text] = "" if photo is None else self.name(photo)

    def add_photos(self, findings: dict[Path, str], advice: str) -> None:
        """Add problems of images; without collecting, raise the first with the number of the others."""
        if findings and not self.collect:
            raise UserError(f"{next(iter(findings.values()))}{and_n_more(findings)}; {advice}")
        for photo, text in findings.items():
            self.add(text, photo)

    def name(self, photo: Path) -> str:
        """Return the path of an image in the quarantine."""
        return Path(os.path.relpath(photo, self.root)).as_posix()

    def is_left_out(self, photo: Path) -> bool:
        """Return whether an image is in quarantine."""
        return bool(self.left_out) and self.name(photo) in self.left_out


def read_quarantine(root: Path) -> tuple[str, ...]:
    """Return the images in the quarantine of a data set, from rows <path below root><tab><reason>."""
    path = find(root, QUARANTINE)
    return () if path is None else tuple(line.split("\t")[0] for _, line in read_lines(path))
