"""Extract an archive of a data set: nothing outside its folder, whole or not at all."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

from spg_lightning.data.text_files import is_inside
from spg_lightning.errors import UserError, first_line
from spg_lightning.utils.temporary_folder import temporary_folder

BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)


def extract(archive: str | Path, root: Path) -> list[Path]:
    """Extract a .tar (.gz, .bz2, .xz) or .zip, and return what was put where.

    What the archive holds on top goes beside `root`, where it has a folder of `root`'s name (CUB_200_2011.tgz and a root
    data/CUB_200_2011) or where `root` is there already (segmentations.tgz); a lone folder of another name becomes `root`;
    several things become its content. Everything is extracted under another name first and renamed at the end. What is there
    in full already stays.

    Args:
        archive: the file.
        root: where the data set is to be.

    Raises:
        UserError: it is not an archive or damaged, a member leaves the folder or exists with other content, or the disk is full.
    """
    path = Path(archive).expanduser()
    if not path.is_file():
        raise UserError(f"archive={archive} is not a file; give the archive as downloaded")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(root.parent, "extract") as unfinished:
            if zipfile.is_zipfile(path):
                _unzip(path, unfinished)
            elif tarfile.is_tarfile(path):
                _untar(path, unfinished)
            else:
                raise UserError(f"archive={archive} is not a .tar, .tgz or .zip, or it is damaged; download it again")
            return _place(path, unfinished, root)
    except BROKEN as error:
        raise UserError(f"archive={archive} is broken ({first_line(error)}); download it again") from error
    except OSError as error:
        raise UserError(
            f"archive={archive} cannot be extracted to {root.parent} ({error.strerror or first_line(error)}); nothing is left "
            "behind"
        ) from error


def _untar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        for member in archive:
            _refuse_outside(path, member.name)
            try:
                archive.extract(member, folder, filter="data")  # no links out, no devices, no foreign owners or modes
            except tarfile.FilterError as error:
                raise UserError(f"archive={path}: {member.name}: {first_line(error)}; refused") from error
        while archive.fileobj is not None and archive.fileobj.read(1 << 20):  # to the end: its checksum stands there
            pass


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        needed = sum(member.file_size for member in members)
        if needed > shutil.disk_usage(folder).free:
            raise UserError(f"archive={path} needs {needed / 1e9:.1f} GB, which {folder.parent} has not free")
        for member in members:
            _refuse_outside(path, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UserError(f"archive={path}: {member.filename} is a link; refused")
            archive.extract(member, folder)


def _refuse_outside(path: Path, name: str) -> None:
    if not is_inside(name.replace("\\", "/").rstrip("/") or "/") and name not in (".", "./"):
        raise UserError(f"archive={path}: {name} lies outside the folder it is extracted to; refused")


def _place(archive: Path, unfinished: Path, root: Path) -> list[Path]:
    """Move what was extracted to where it belongs; refuse to overwrite."""
    entries = sorted(unfinished.iterdir())
    if not entries:
        raise UserError(f"archive={archive} is empty; download it again")
    if root.exists() or any(entry.name == root.name for entry in entries):
        moves = {entry: root.parent / entry.name for entry in entries}
    elif len(entries) == 1 and entries[0].is_dir():
        moves = {entries[0]: root}
    else:
        unfinished.chmod(0o755)
        moves = {unfinished: root}
    if there := [target for source, target in moves.items() if target.exists() and not _holds(target, source)]:
        raise UserError(
            f"archive={archive}: {there[0]} is there already; leave archive= out to check it, or move it away"
        )
    for source, target in moves.items():
        if not target.exists():
            source.rename(target)
    return list(moves.values())


def _holds(target: Path, source: Path) -> bool:
    """Return whether a target has every file of a source, of the same size: an earlier call was interrupted after it."""
    files = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
    there = {path: target / path.relative_to(source) for path in files}
    return bool(files) and all(
        other.is_file() and other.stat().st_size == path.stat().st_size for path, other in there.items()
    )
