"""Checkpoint files are complete or unchanged."""

import errno
import os

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.checkpoints.io import atomic_save


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("unexpected pos 64")])
def test_a_failed_write_leaves_the_previous_file(tmp_path, monkeypatch, error):
    path = tmp_path / "a.ckpt"
    atomic_save({"step": 1}, path)

    def fail(checkpoint, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=f"cannot write {path} \\(.*(No space left|unexpected pos)"):
        atomic_save({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
def test_a_full_device(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.unlink", lambda *arguments, **options: None)
    (tmp_path / ".a.ckpt.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
        atomic_save({"weights": torch.zeros(100_000)}, tmp_path / "a.ckpt")
