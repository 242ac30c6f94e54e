"""What the trainer writes of a checkpoint."""

import pytest
import torch

from spg_lightning.checkpoints.trainer_io import AtomicCheckpointIO
from spg_lightning.errors import UserError
from tests.checkpoints.handmade import checkpoint


def test_the_state_of_the_training_is_left_out(tmp_path):
    whole = {**checkpoint(step=7), "epoch": 2, "global_step": 7, "optimizer_states": [], "loops": {}}
    AtomicCheckpointIO().save_checkpoint(whole, str(tmp_path / "last.ckpt"))
    written = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert written.keys() == {"state_dict", "spg_lightning", "epoch", "global_step"}
    assert written["global_step"] == 7


def test_a_failed_write_says_how_to_go_on(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"cannot write .*; the previous file is unchanged: make room, then resume with"
    ):
        AtomicCheckpointIO().save_checkpoint(checkpoint(), tmp_path / "file" / "last.ckpt")
