"""The images of a folder as annotation files refer to them, and the annotations that such files yield."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from spg_lightning.data.records import drop_image_extension
from spg_lightning.data.validation.image_sizes import TOLERANCE, Box
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError

Mask = Bool[np.ndarray, "Y X"]


@dataclass(frozen=True)
class Annotation:
    """One object of one image.

    Attributes:
        index: of the image.
        where: file and row, for messages.
        box: x0 y0 x1 y1 in pixels as written; None for an outline that belongs to the box of another annotation.
        draw: returns the object's pixels at the image's size; None without an outline.
    """

    index: int
    where: str
    box: Box | None
    draw: Callable[[], Mask] | None = None


class FolderImages:
    """The images of a folder.

    Args:
        root: that `names` are relative to.
        names, sizes, good: of the images; annotations of images that are not good are passed over.
        issues: takes annotations that are wrong.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        sizes: Int[np.ndarray, "N 2"],
        good: Bool[np.ndarray, " N"],
        issues: IssueCollector,
    ) -> None:
        self.root, self.names, self.sizes, self.good, self.issues = root, names, sizes, good, issues
        self._by_name = {name: {i} for i, name in enumerate(names)}
        self._by_path: dict[str, set[int]] = {}
        self._by_end: dict[str, set[int]] = {}  # of the path; both also without the extension
        for i, name in enumerate(names):
            parts = PurePosixPath(name).parts
            for k in range(len(parts)):
                tail = "/".join(parts[k:])
                for text in {tail, drop_image_extension(tail)}:
                    self._by_end.setdefault(text, set()).add(i)
                    if k == 0:
                        self._by_path.setdefault(text, set()).add(i)

    def find(self, image: str, where: str) -> int | None:
        """Return the index of an image, None for one that is not good.

        Args:
            image: its path below the root, or an end of it that no other image has; also with the root's folder, or whatever leads to it,
                in front. The extension may be missing.
            where: file and row, for the message.

        Raises:
            UserError: no image, or several.
        """
        candidates = self.candidates(image)
        if len(candidates) != 1:
            why = f"{len(candidates)} images end with that" if candidates else "there is no such image"
            raise UserError(f"{where}: {_shown(image)}: {why}; give its path below {self.root}")
        (index,) = candidates
        return index if self.good[index] else None

    def candidates(self, image: str) -> set[int]:
        """Return the indices of the images that a path may name."""
        text = image.replace("\\", "/").removeprefix("./")
        found = (table.get(text) for table in (self._by_name, self._by_path, self._by_end))
        return next((group for group in found if group), None) or self._below_root(text)

    def size(self, index: int) -> tuple[int, int]:
        """Return the width and height of an image."""
        return int(self.sizes[index][0]), int(self.sizes[index][1])

    def report(self, index: int, text: str) -> None:
        """Hand a problem of an image's annotation to `issues`."""
        self.issues.add(text, self.root / self.names[index])

    def checked_polygon(self, points: Sequence[float], index: int, where: str) -> list[float] | None:
        """Return a polygon x, y, x, y, ... clipped to its image; None for one that `issues` took."""
        corners, size = np.array(points, dtype=np.float64).reshape(-1, 2), self.size(index)
        if len(corners) < 3:
            self.report(index, f"{where}: a polygon of {len(corners)} points; it needs three or more")
        elif not np.isfinite(corners).all():
            self.report(index, f"{where}: the polygon has numbers that are not finite; correct the row")
        elif (corners < -TOLERANCE).any() or (corners > np.array(size) + TOLERANCE).any():
            self.report(index, f"{where}: the polygon exceeds its image of {size[0]} x {size[1]} pixels")
        else:
            clipped: list[float] = corners.clip(0, size).ravel().tolist()
            return clipped
        return None

    def _below_root(self, text: str) -> set[int]:
        """Return the images that a path with the root's folder in it names."""
        parts = PurePosixPath(text).parts
        names = {self.root.name, self.root.resolve().name}
        tails = ("/".join(parts[k + 1 :]) for k, part in enumerate(parts) if part in names)
        return next((self._by_path[tail] for tail in tails if tail in self._by_path), set())


def read_numbers(values: Iterable[Any], count: int | None, where: str, expected: str) -> tuple[float, ...]:
    """Return numbers as floats.

    Args:
        values: numbers or texts.
        count: how many there have to be; None: an even number.
        where: file and row, for the message.
        expected: what a row holds, for the message.

    Raises:
        UserError: another number of values, or one that is not a number.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None or (len(numbers) % 2 if count is None else len(numbers) != count):
        raise UserError(f"{where}: cannot read its numbers; expected {expected}")
    return numbers


def bounds_of(polygons: Sequence[Sequence[float]]) -> Box:
    """Return the box around polygons."""
    x, y = [c for polygon in polygons for c in polygon[::2]], [c for polygon in polygons for c in polygon[1::2]]
    return min(x), min(y), max(x), max(y)


def mask_bounds(mask: Mask) -> Box | None:
    """Return the box around a mask, None for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)) if len(rows) else None


def _shown(text: str) -> str:
    """Return a text of any file on one line."""
    return " ".join(text.split())[:200]
