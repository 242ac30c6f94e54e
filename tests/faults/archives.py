"""Archives that are damaged or hostile, for `prepare archive=`."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.case import Case
from tests.faults.file_faults import ANY, HOSTILE, Fault


def _tar(*members: tarfile.TarInfo) -> Fault:
    def write(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for member in members:
                archive.addfile(member, io.BytesIO(bytes(member.size)))

    return write


def _member(
    name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, target: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname, member.mode = kind, size, target, mode
    return member


def _zip(write_members: Callable[[zipfile.ZipFile], None]) -> Fault:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            write_members(archive)

    return write


def _zip_link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("cub/link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(member, "/etc/passwd")


TARS: dict[str, Fault] = {
    **{f"a member {name[:20]!r}": _tar(_member(name)) for name in HOSTILE},
    "a link out": _tar(_member("cub/a", tarfile.SYMTYPE, target="/etc/passwd")),
    "a hard link out": _tar(_member("cub/a", tarfile.LNKTYPE, target="../../etc/passwd")),
    "through a link": _tar(_member("cub/a", tarfile.SYMTYPE, target="../.."), _member("cub/a/b")),
    "a device": _tar(_member("cub/a", tarfile.CHRTYPE)),
    "a pipe": _tar(_member("cub/a", tarfile.FIFOTYPE)),
    "a member twice": _tar(_member("cub/a"), _member("cub/a")),
    "a folder of a file's name": _tar(_member("cub/a"), _member("cub/a", tarfile.DIRTYPE)),
    "a folder nobody may read": _tar(_member("cub", tarfile.DIRTYPE, mode=0), _member("cub/a")),
    "no member": _tar(),
    "only a folder": _tar(_member("cub", tarfile.DIRTYPE)),
    "other files": _tar(_member("other/a", size=10), _member("other/b", size=10)),
}
ZIPS: dict[str, Fault] = {
    **{f"a member {name[:20]!r}": _zip(lambda archive, name=name: archive.writestr(name or "/", "x")) for name in HOSTILE},
    "a link": _zip(_zip_link),
    "a bomb": _zip(lambda archive: archive.writestr("cub/zeros", bytes(64 << 20))),
    "no member": _zip(lambda archive: None),
    "a member twice": _zip(lambda archive: [archive.writestr("cub/a", text) for text in "xy"] and None),
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield a case for each archive and fault, extracted to a new folder and beside an existing one."""
    for name, own in (("cub.tgz", TARS), ("cub.zip", ZIPS)):
        for what, fault in (ANY | own).items():
            for root in ("out/new/cub", "out/renamed"):
                arguments = (
                    "dataset=cub",
                    f"archive={name}",
                    f"dataset.root={root}",
                    "output_dir=out",
                    "num_workers=1",
                )
                yield Case(
                    f"archives/{name}/{what}/{root}", "prepare", arguments, (name,),
                    lambda folder, name=name, fault=fault: fault(folder / name), repeats=what not in own,
                )  # fmt: skip
