"""Read the lists that data sets come with: text by the line, comma-separated tables, and names that stay inside a folder."""

import csv
from pathlib import Path, PurePosixPath, PureWindowsPath

from spg_lightning.errors import UserError
from spg_lightning.utils.pipes import refuse_pipe


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return (line number, line) of a text, without empty lines; Windows line ends and a byte order mark are accepted.

    Raises:
        UserError: a line that is not UTF-8.
    """
    refuse_pipe(path)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {number}: not UTF-8 text ({error.reason}); save the file as UTF-8") from None
    return [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]


def read_csv(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[tuple[int, list[str]]]:
    """Return (line number, words) of a table `columns`[, `optional`]; a first line with just these names is passed over.

    Raises:
        UserError: a row with another number of columns, or than the rows before it.
    """
    rows: list[tuple[int, list[str]]] = []
    expected = ",".join(columns) + "".join(f"[,{name}]" for name in optional)
    widths = {len(columns), len(columns) + len(optional)}
    header = (*columns, *optional)
    for number, line in read_lines(path):
        words = [word.strip() for word in next(csv.reader([line]))]
        if not rows and tuple(word.lower() for word in words) in (columns, header):
            widths = {len(words)}
            continue
        if len(words) not in widths or not words[0]:
            raise UserError(f"{path}, line {number}: cannot read '{line.strip()[:80]}'; rows are {expected}")
        widths = {len(words)}
        rows.append((number, words))
    if not rows:
        raise UserError(f"{path} is empty; it holds rows {expected}")
    return rows


def is_inside(name: str) -> bool:
    """Tell whether a listed path stays below its folder: relative, and without `..`."""
    path = PurePosixPath(name)
    drive = PureWindowsPath(name).drive
    return bool(path.name) and not path.is_absolute() and not drive and ".." not in path.parts and "\0" not in name


def and_n_more(things: object) -> str:
    """Return ' (and n more)' for several items, else an empty string."""
    count = len(things)  # type: ignore[arg-type]
    return f" (and {count - 1} more)" if count > 1 else ""
