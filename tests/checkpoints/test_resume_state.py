"""Resume checkpoints in a run folder."""

import torch

from spg_lightning.checkpoints.resume_state import save_resume_checkpoint
from spg_lightning.utils.run_dir import RunDir


def test_the_last_two_checkpoints_are_kept(tmp_path):
    for step in range(3):
        save_resume_checkpoint({"step": step}, RunDir(tmp_path))
    kept = {file.name: torch.load(file, weights_only=True)["step"] for file in (tmp_path / "checkpoints").iterdir()}
    assert kept == {"resume.ckpt": 2, "resume.previous.ckpt": 1}
