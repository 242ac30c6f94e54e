"""Extraction: nothing outside the folder, nothing by halves."""

import errno
import io
import stat
import tarfile
import zipfile

import pytest

from spg_lightning.data import archives
from spg_lightning.errors import UserError


def tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 2 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"ab") if info.size else None)
    return path


FILE = tarfile.REGTYPE
EVIL = {
    "above": [("../evil", FILE, "")],
    "above, inside": [("data/../../evil", FILE, "")],
    "absolute": [("/tmp/evil", FILE, "")],
    "drive": [("C:\\evil", FILE, "")],
    "link out": [("data/link", tarfile.SYMTYPE, "../../evil")],
    "absolute link": [("data/link", tarfile.SYMTYPE, "/etc")],
    "hard link out": [("data/link", tarfile.LNKTYPE, "../../evil")],
    "through a link": [("data/link", tarfile.SYMTYPE, ".."), ("data/link/../../evil", FILE, "")],
    "device": [("data/null", tarfile.CHRTYPE, "")],
}


@pytest.mark.parametrize("name", EVIL)
def test_a_tar_cannot_write_outside(tmp_path, name):
    path = tar(tmp_path / "a.tgz", [("data/good", FILE, ""), *EVIL[name]])
    with pytest.raises(UserError, match="refused"):
        archives.extract(path, tmp_path / "in" / "data")
    assert [*(tmp_path / "in").iterdir()] == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "data/../../evil", "data\\..\\..\\evil"])
def test_a_zip_cannot_write_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data/good", "ab")
        archive.writestr(name, "ab")
    with pytest.raises(UserError, match="refused"):
        archives.extract(tmp_path / "a.zip", tmp_path / "in" / "data")
    assert [*(tmp_path / "in").iterdir()] == []


def test_a_zip_with_a_link_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("data/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    with pytest.raises(UserError, match="is a link; refused"):
        archives.extract(tmp_path / "a.zip", tmp_path / "in" / "data")


@pytest.mark.parametrize("cut", [0, 60, -20])
def test_a_broken_archive_leaves_nothing(tmp_path, cut):
    path = tar(tmp_path / "a.tgz", [(f"data/{i}", FILE, "") for i in range(50)])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="broken"):
        archives.extract(path, tmp_path / "in" / "data")
    assert [*(tmp_path / "in").iterdir()] == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    path = tar(tmp_path / "a.tgz", [("data/a", FILE, ""), ("data/b", FILE, "")])

    def full(self, member, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    with pytest.raises(UserError, match="No space left on device"):
        archives.extract(path, tmp_path / "in" / "data")
    assert [*(tmp_path / "in").iterdir()] == []


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["data/a", "note.txt"], ["data/a", "note.txt"]),  # the root's name is among them
        (["other/a"], ["data/a"]),  # a lone folder becomes the root
        (["a", "b/c"], ["data/a", "data/b/c"]),  # several things become its content
    ],
)
def test_where_things_go(tmp_path, members, expected):
    archives.extract(tar(tmp_path / "a.tgz", [(m, FILE, "") for m in members]), tmp_path / "in" / "data")
    assert (
        sorted(p.relative_to(tmp_path / "in").as_posix() for p in (tmp_path / "in").rglob("*") if p.is_file())
        == expected
    )
