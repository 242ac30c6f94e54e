"""A flipped bit in a file of weights is not another weight."""

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.checkpoints.metadata import KEY, load_checkpoint
from spg_lightning.stems.weights import read_state_dict
from spg_lightning.utils.torch_files import load_torch_file


def flip(path, pattern):
    data = bytearray(path.read_bytes())
    at = data.index(pattern) + 5
    data[at] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    weights = {"weight": torch.full((64,), 1.5)}
    torch.save({"state_dict": weights, KEY: {"format": 3}}, path)
    assert load_torch_file(path)["state_dict"]["weight"].eq(1.5).all()
    flip(path, weights["weight"].numpy().tobytes())
    with pytest.raises(ValueError, match="checksum of a/data/0"):
        load_torch_file(path)
    with pytest.raises(UserError, match=r"a\.ckpt is damaged"):
        load_checkpoint(path)
    with pytest.raises(UserError, match=r"a\.ckpt"):
        read_state_dict(path)


def test_files_of_old_versions_of_torch_are_read(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_torch_file(tmp_path / "old.pth")["a"].tolist() == [1, 1]
