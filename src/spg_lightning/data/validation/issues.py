"""How a reader collects the problems with the files: it stops at once, or collects it all; and what is left out on purpose."""

import os
from collections.abc import Iterable
from pathlib import Path

from spg_lightning.data.index.cache import find
from spg_lightning.data.text_files import and_n_more, read_lines
from spg_lightning.errors import UserError

QUARANTINE = "quarantine.txt"


class IssueCollector:
    """What a reader tells its findings.

    Args:
        root: of the data set.
        left_out: images in quarantine, as paths relative to `root`.
        collect: keep what is wrong in `found`, and let the reader go on without it; otherwise raise `UserError`.

    Attributes:
        found: what is wrong -> the image (relative to `root`) that can be left out to mend it, "" where there is none.
    """

    def __init__(self, root: Path, left_out: Iterable[str], collect: bool) -> None:
        self.root, self.left_out, self.collect = root, frozenset(left_out), collect
        self.found: dict[str, str] = {}

    @classmethod
    def of(cls, root: Path, collect: bool = False) -> "IssueCollector":
        """Return the issues of a data set, with its quarantine where there is one."""
        return cls(root, read_quarantine(root), collect)

    def add(self, text: str, photo: Path | None = None) -> None:
        """Take a finding: one line with the file, the row and the way out."""
        if not self.collect:
            raise UserError(text)
        self.found[text] = "" if photo is None else self.name(photo)

    def add_photos(self, findings: dict[Path, str], advice: str) -> None:
        """Take findings about images; where they are not collected, one line for the first that says how many more."""
        if findings and not self.collect:
            raise UserError(f"{next(iter(findings.values()))}{and_n_more(findings)}; {advice}")
        for photo, text in findings.items():
            self.add(text, photo)

    def name(self, photo: Path) -> str:
        """Return how an image stands in the quarantine."""
        return Path(os.path.relpath(photo, self.root)).as_posix()

    def is_left_out(self, photo: Path) -> bool:
        """Tell whether an image is in quarantine."""
        return bool(self.left_out) and self.name(photo) in self.left_out


def read_quarantine(root: Path) -> tuple[str, ...]:
    """Return the images that are left out of a data set: rows <path below root><tab><why>."""
    path = find(root, QUARANTINE)
    return () if path is None else tuple(line.split("\t")[0] for _, line in read_lines(path))
