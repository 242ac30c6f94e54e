"""No checkpoint constructs anything that the user has not allowed."""

import pytest
import torch
from omegaconf import OmegaConf

FOREIGN = {
    "method.network.stem": "os.system",
    "method.network.stem.network": "spg_lightning.loggers.wandb.logging.FileHandler",  # reached through our own module
    "module.step": "spg_lightning.loggers.wandb.logging.FileHandler",
    "module.loss.guidance": "logging.FileHandler",
    "data.reader": "logging.FileHandler",
}


@pytest.mark.parametrize("key", FOREIGN)
def test_a_checkpoint_that_names_a_foreign_target_is_refused(tiny_run, verb, tmp_path, key):
    precious, evil = tmp_path / "precious.txt", tmp_path / "evil.ckpt"
    precious.write_text("of the user")
    checkpoint = torch.load(tiny_run[0].checkpoint, weights_only=True)
    node = {"_target_": FOREIGN[key], "filename": str(precious), "mode": "w"}
    config = OmegaConf.create(checkpoint["spg_lightning"]["config"])
    OmegaConf.update(config, key, node, merge=False)
    checkpoint["spg_lightning"]["config"] = OmegaConf.to_container(config)
    torch.save(checkpoint, evil)
    outcome = verb("evaluate", f"checkpoint={evil}", f"output_dir={tmp_path / 'out'}", "num_workers=0")
    assert outcome.code == 1
    assert f"would construct {FOREIGN[key]}" in outcome.line
    assert precious.read_text() == "of the user"
