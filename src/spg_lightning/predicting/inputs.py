"""The input images of `predict`."""

import glob
import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spg_lightning.data.records import IMAGE_EXTENSIONS
from spg_lightning.errors import UserError
from spg_lightning.localization.regions import Box
from spg_lightning.predicting.journal import JOURNAL

log = logging.getLogger(__name__)
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Inputs:
    """The images to predict.

    Attributes:
        source: the setting that names them, for messages.
        paths: of the files.
        true_boxes: path -> boxes x0 y0 x1 y1 in pixels of the image, where they are known.
        apply_exif_orientation: whether the images, and their boxes, are turned as their EXIF orientation says.
    """

    source: str
    paths: Sequence[Path]
    true_boxes: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    apply_exif_orientation: bool = True


def find_images(images: str, output_dir: Path | None = None) -> list[Path]:
    """Return the images that a setting names, each once.

    Args:
        images: a file, a folder (searched with its subfolders, also through links), a glob, a .txt file with a path a line
            (relative to the working directory, or to the file), or "-" for such lines from standard input. Files and folders
            come sorted, listed paths in their order.
        output_dir: is no input, and neither are the output folders of other predictions inside a folder.

    What is no regular file (pipes, devices, broken links) and links that lead back to a folder above are left out with a
    warning.

    Raises:
        UserError: there is no image.
    """
    if images == STANDARD_INPUT:
        return _listed(sys.stdin.read().splitlines(), "standard input", None)
    path = Path(images).expanduser()
    if path.suffix.lower() == ".txt" and path.is_file():
        return _listed(_lines(path), str(path), path.parent)
    if path.is_dir():
        if _is_same(path, output_dir):
            raise UserError(
                f"output_dir={output_dir} is the folder of the images; choose another, its results are no input"
            )
        found = sorted(_walk(path, output_dir))
        if not found:
            raise UserError(f"images={images}: no image in this folder (looked for {_extensions()})")
        return found
    if path.exists():
        return [_regular(path, f"images={images}")]
    matches = (Path(file) for file in glob.glob(str(path), recursive=True))  # noqa: PTH207 (Path.glob wants relative)
    found = sorted(file for file in _keep_regular(filter(_is_image, matches)) if not _is_inside(file, output_dir))
    if not found:
        raise UserError(f"images={images}: no such file or folder, and no image matches it as a glob")
    return found


def _walk(folder: Path, output_dir: Path | None) -> Iterator[Path]:
    """Yield the images below a folder; links are followed, each folder is visited once."""
    visited: set[tuple[int, int]] = set()
    others: list[str] = []
    outside: list[Path] = []
    loops: list[str] = []
    for root, folders, files in os.walk(folder, followlinks=True):
        here = Path(root)
        state = here.stat()
        if (state.st_dev, state.st_ino) in visited:
            loops.append(root)
            folders.clear()
            continue
        visited.add((state.st_dev, state.st_ino))
        if _is_same(here, output_dir) or (here != folder and (here / JOURNAL).is_file()):
            others.append(root)
            folders.clear()
            continue
        folders.sort()
        outside += [here / name for name in files if _is_image(Path(name))]
    _warn(loops, "a folder that was visited already (a link)")
    _warn([name for name in others if not _is_same(Path(name), output_dir)], "results of another prediction")
    yield from _keep_regular(outside)


def _listed(lines: Sequence[str], source: str, folder: Path | None) -> list[Path]:
    """Return the images that lines name, each once, in their order."""
    found: dict[Path, None] = {}
    for number, line in enumerate(lines, start=1):
        if not (text := line.strip()):
            continue
        path = Path(text).expanduser()
        if folder is not None and not path.exists() and (folder / path).exists():
            path = folder / path
        if not path.exists():
            raise UserError(f"{source}, line {number}: {text[:200]} is missing; correct or delete the line")
        found[_regular(path, f"{source}, line {number}")] = None
    if not found:
        raise UserError(f"images: {source} names no image; write a path a line")
    return list(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"images={path} cannot be read as lines of UTF-8 text ({error})") from error


def _regular(path: Path, where: str) -> Path:
    if not path.is_file():
        raise UserError(f"{where}: {path} is no regular file; give an image")
    return path


def _keep_regular(paths: Iterable[Path]) -> list[Path]:
    """Return the paths of regular files; warn of the others by kind."""
    kept: list[Path] = []
    strange: dict[str, list[str]] = {}
    for path in paths:
        if (kind := _kind(path)) == "file":
            kept.append(path)
        else:
            strange.setdefault(kind, []).append(str(path))
    for kind, names in strange.items():
        _warn(names, kind)
    return kept


def _kind(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a broken link"
    names = {stat.S_IFREG: "file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")


def _warn(names: Sequence[str], kind: str) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        log.warning("skipped %s%s: %s", names[0], more, kind)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_EXTENSIONS


def _is_same(path: Path, other: Path | None) -> bool:
    return other is not None and path.resolve() == other.resolve()


def _is_inside(path: Path, folder: Path | None) -> bool:
    return folder is not None and folder.resolve() in path.resolve().parents


def _extensions() -> str:
    return ", ".join(sorted(IMAGE_EXTENSIONS))
