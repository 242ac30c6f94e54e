"""Read ground truth, and write boxes, in the format of the CVPR 2020 benchmark (Choe et al., "Evaluating WSOL Methods Right").

One folder a split:

image_ids.txt      <image id>
class_labels.txt   <image id>,<class, from 0>
image_sizes.txt    <image id>,<width>,<height>; may be empty if the ground truth is masks
localization.txt   <image id>,<x0>,<y0>,<x1>,<y1> in pixels of the image, a row per object;
                   or <image id>,<mask file>[,<file of the region to ignore>]

The image id is the path of the image below the folder of the data set.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from spg_lightning.data.records import Records, drop_image_extension
from spg_lightning.data.text_files import is_inside, read_lines
from spg_lightning.errors import UserError
from spg_lightning.utils.atomic import atomically

T = TypeVar("T")
LOCALIZATION = "localization.txt"
ROWS = {
    "image_ids.txt": "<image id>",
    "class_labels.txt": "<image id>,<class, from 0>",
    "image_sizes.txt": "<image id>,<width>,<height>",
    LOCALIZATION: "<image id>,<x0>,<y0>,<x1>,<y1> or <image id>,<mask file>[,<ignore file>]",
}
LISTS = tuple(ROWS)
LABELS = ("image_ids.txt", "class_labels.txt")  # required for training images
MAX_CLASSES, MAX_PIXEL = 10**6, 1e6  # larger numbers are mistakes
MANY = "<image id>,<class>,<second class>, ..."


def read_benchmark(metadata: str | Path, masks: str | Path | None = None, with_truth: bool = True) -> Records:
    """Return the images of one split. Their `images` are the image ids.

    Args:
        metadata: folder with the four files.
        masks: folder of the mask files that localization.txt names; if it has boxes, a folder with one mask per image,
            <image id without its extension>.png.
        with_truth: False for training images, which only need a class; their boxes are read if present, their masks are not.

    Raises:
        UserError: a file is missing, a row cannot be read (file and line are named), or an image lacks ground truth.
    """
    folder = Path(metadata).expanduser()
    for name, rows in ROWS.items():
        if not (folder / name).is_file() and (with_truth or name in LABELS):
            raise UserError(f"metadata={metadata}: {folder / name} is missing; it holds rows {rows}")
    ids = tuple(read_table(folder / "image_ids.txt", 1, lambda words: _check_id(words[0])))
    if not ids:
        raise UserError(f"{folder / 'image_ids.txt'} is empty; list one image id per line")
    labels = read_table(folder / "class_labels.txt", 2, lambda words: natural(words[1], MAX_CLASSES))
    require_rows(folder / "class_labels.txt", ids, labels)
    boxes, files = _read_localization(folder / "localization.txt", ids)
    if with_truth:
        require_rows(folder / "localization.txt", ids, boxes or files)
    else:
        files = {}
    sizes = _read_sizes(folder / "image_sizes.txt", ids, is_needed=bool(boxes))
    if files and masks is None:
        raise UserError(f"{folder / 'localization.txt'} names masks; give their folder: masks=<folder>")
    if masks is not None and not Path(masks).expanduser().is_dir():
        raise UserError(f"masks={masks} is not a folder; give the one with the masks")
    corners = [box for i in ids for box in boxes.get(i, [])]
    return Records(
        root=Path(masks).expanduser() if masks is not None else folder,
        images=ids,
        labels=np.array([labels[i] for i in ids], dtype=np.int64),
        sizes=np.array([sizes.get(i, (0, 0)) for i in ids], dtype=np.int64).reshape(-1, 2),
        boxes=np.array(corners, dtype=np.float64).reshape(-1, 4),
        box_offsets=_offsets(boxes, ids),
        class_names=tuple(str(k) for k in range(max(labels[i] for i in ids) + 1)),
        masks=_mask_files(ids, files, masks),
        ignored=tuple(_ignored_file(folder / "localization.txt", i, files[i]) for i in ids) if files else (),
        mask_above=0 if files else 127,
    )


def read_boxes(path: Path, ids: Sequence[str]) -> tuple[Float[np.ndarray, "N 4"], Int[np.ndarray, " n"]]:
    """Return the boxes of images from a file like localization.txt, and where those of each image begin, as in `Records`.

    Args:
        path: of the file, whatever its name. Rows of other images are skipped.
        ids: of the images, n - 1 of them; one without a row has no box.

    Raises:
        UserError: a row is wrong or names a mask; file and line are named.
    """
    boxes, files = _read_localization(path, ids)
    if files:
        raise UserError(f"{path}: rows name masks; give boxes, <image id>,<x0>,<y0>,<x1>,<y1>")
    corners = [box for i in ids for box in boxes.get(i, [])]
    return np.array(corners, dtype=np.float64).reshape(-1, 4), _offsets(boxes, ids)


def write_boxes(path: Path, records: Records) -> None:
    """Write the boxes of all images as rows of localization.txt, in pixels, to a hundredth."""
    with atomically(path, "w") as file:
        for index, image in enumerate(records.images):
            for box in records.boxes_of(index).tolist():
                file.write(",".join([image, *(f"{corner:.2f}" for corner in box)]) + "\n")


def _offsets(boxes: dict[str, list[tuple[float, ...]]], ids: Sequence[str]) -> Int[np.ndarray, " n"]:
    return np.cumsum([0, *(len(boxes.get(i, [])) for i in ids)])


def _read_sizes(path: Path, ids: tuple[str, ...], is_needed: bool) -> dict[str, tuple[int, int]]:
    """Return the listed widths and heights."""
    sizes: dict[str, tuple[int, int]] = {}
    if path.is_file():
        sizes = read_table(path, 3, lambda words: (natural(words[1]), natural(words[2])))
    if is_needed:
        require_rows(path, ids, sizes)
        if empty := [i for i in ids if min(sizes[i]) == 0]:
            raise UserError(f"{path}: {empty[0]} has no area; correct the row")
    return sizes


def _ignored_file(path: Path, image_id: str, files: list[tuple[str, str]]) -> str:
    """Return the file of an image's ignored region, or an empty string."""
    named = {ignore for _, ignore in files if ignore}
    if len(named) > 1:
        raise UserError(
            f"{path}: {image_id} has several files of regions to ignore ({', '.join(sorted(named))}); keep one"
        )
    return next(iter(named), "")


def _mask_files(
    ids: tuple[str, ...], files: dict[str, list[tuple[str, str]]], masks: str | Path | None
) -> tuple[tuple[str, ...], ...]:
    if files:
        return tuple(tuple(mask for mask, _ in files[i]) for i in ids)
    return () if masks is None else tuple((f"{drop_image_extension(i)}.png",) for i in ids)


def _read_localization(
    path: Path, ids: Sequence[str]
) -> tuple[dict[str, list[tuple[float, ...]]], dict[str, list[tuple[str, str]]]]:
    """Return the boxes of each listed image, or its mask files with their files of ignored regions."""
    boxes: dict[str, list[tuple[float, ...]]] = {}
    files: dict[str, list[tuple[str, str]]] = {}
    listed = set(ids)
    if not path.is_file():
        return boxes, files
    for number, words in _rows(path):
        if words[0] not in listed:
            continue
        if len(words) == 5:
            try:
                corners = tuple(float(word) for word in words[1:])
            except ValueError:
                raise _malformed(path, number, words, LOCALIZATION) from None
            if not all(abs(corner) < MAX_PIXEL for corner in corners):  # also false for NaN
                raise _malformed(path, number, words, LOCALIZATION)
            if corners[2] < corners[0] or corners[3] < corners[1]:
                raise UserError(
                    f"{path}, line {number}: the box {', '.join(words[1:])} of {words[0]} ends before it begins; rows are "
                    f"{ROWS[LOCALIZATION]}"
                )
            boxes.setdefault(words[0], []).append(corners)
        elif len(words) in (2, 3) and words[1]:
            files.setdefault(words[0], []).append((words[1], words[2] if len(words) == 3 else ""))
        else:
            raise _malformed(path, number, words, LOCALIZATION)
        if boxes and files:
            raise UserError(f"{path}, line {number}: the file has rows with boxes and rows with masks; keep one kind")
    return boxes, files


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return (line number, words) of a comma-separated list."""
    return [(number, [word.strip() for word in line.split(",")]) for number, line in read_lines(path)]


def read_table(path: Path, columns: int | None, parse: Callable[[list[str]], T]) -> dict[str, T]:
    """Return image id -> value of a comma-separated list with one row per image.

    Args:
        path: of the list.
        columns: their number; None for two or more.
        parse: words of a row -> value; raises `ValueError` for what it cannot read.

    Raises:
        UserError: a row that cannot be read, or an image is listed twice; names file and line.
    """
    table: dict[str, T] = {}
    for number, words in _rows(path):
        try:
            if len(words) != columns if columns else len(words) < 2:
                raise ValueError
            value = parse(words)
        except ValueError:
            raise _malformed(path, number, words) from None
        if words[0] in table:
            raise UserError(f"{path}, line {number}: {words[0]} is listed twice; keep one row per image")
        table[words[0]] = value
    return table


def natural(word: str, below: int = 2**31) -> int:
    """Return a whole number from 0 to `below` - 1.

    Raises:
        ValueError: anything else.
    """
    number = int(word)
    if not 0 <= number < below:
        raise ValueError
    return number


def _check_id(word: str) -> None:
    """Refuse an image id that leaves the folder of the maps."""
    if not is_inside(word):
        raise ValueError


def _malformed(path: Path, number: int, words: list[str], kind: str | None = None) -> UserError:
    rows = ROWS.get(kind or path.name, MANY)
    return UserError(f"{path}, line {number}: cannot read '{','.join(words)[:80]}'; rows are {rows}")


def require_rows(path: Path, ids: Sequence[str], table: dict) -> None:
    """Check that a table has a row for every image.

    Raises:
        UserError: it does not; names the first image and the number of the others.
    """
    if lacking := [i for i in ids if i not in table]:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise UserError(f"{path}: no row for {lacking[0]}{more}; add it, or remove the image from image_ids.txt")
