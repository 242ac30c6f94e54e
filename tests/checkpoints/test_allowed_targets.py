"""No checkpoint constructs anything that the user has not allowed."""

import sys
from importlib.metadata import EntryPoint

import pytest
import torch
from omegaconf import OmegaConf

from spg_lightning import UserError
from spg_lightning.checkpoints import allowed_targets
from spg_lightning.checkpoints.allowed_targets import check_allowed_targets

FOREIGN = {
    "method.network.stem": "os.system",
    "method.network.stem.network": "spg_lightning.loggers.wandb.logging.FileHandler",  # reached through our own module
    "module.step": "spg_lightning.loggers.wandb.logging.FileHandler",
    "module.loss.guidance": "logging.FileHandler",
    "data.reader": "logging.FileHandler",
}
PACKAGE = """
import os
import subprocess
from functools import partial
from logging import FileHandler
from os import system

from torch import nn


class Stem(nn.Module):
    pass


def reader():
    pass


def _hidden():
    pass


run = partial(os.system, "true")
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the user, and one whose import would be noticed."""
    (tmp_path / "mybirds").mkdir()
    (tmp_path / "mybirds" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "mybirds_evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    yield "mybirds"
    sys.modules.pop("mybirds", None)


@pytest.mark.parametrize("target", ["mybirds.Stem", "mybirds.reader"])
def test_parts_of_a_trusted_package_are_allowed(package, target):
    node = {"stem": {"_target_": target}}
    with pytest.raises(
        UserError, match=r"refused. If mybirds is your own package and defines it, add trust=\[mybirds\]"
    ):
        check_allowed_targets(node, "x.ckpt")
    check_allowed_targets(node, "x.ckpt", ["mybirds"])


REFUSED = [
    "os.system", "builtins.eval", "mybirds.system", "mybirds.os.system", "mybirds.subprocess.Popen", "mybirds.FileHandler",
    "mybirds.run", "mybirds.nn.Linear", "mybirds.Stem.load_state_dict", "mybirds.Stem.__class__", "mybirds.nothing", "mybirds", "mybirds._hidden",
    "mybirds.__loader__.load_module", "mybirds_evil.f", "mybirds.\u200bStem", 7, None, ["os.system"],
]  # fmt: skip


@pytest.mark.parametrize("target", REFUSED, ids=str)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_everything_else_is_refused_at_any_depth(package, target, depth):
    node = {"_target_": target}
    for _ in range(depth):
        node = {"_target_": "mybirds.Stem", "layers": [1, {"more": [[node]]}]}
    with pytest.raises(UserError, match="would construct"):
        check_allowed_targets(node, "x.ckpt", ["mybirds"])


def test_an_installed_package_can_be_trusted_by_an_entry_point(package, monkeypatch):
    point = EntryPoint("mybirds", "mybirds", allowed_targets.ENTRY_POINTS)
    monkeypatch.setattr(allowed_targets, "entry_points", lambda group: [point] if group == point.group else [])
    check_allowed_targets({"_target_": "mybirds.Stem"}, "x.ckpt")
    with pytest.raises(UserError, match="would construct"):
        check_allowed_targets({"_target_": "mybirds.system"}, "x.ckpt")


@pytest.mark.parametrize("key", FOREIGN)
def test_a_checkpoint_that_names_a_foreign_target_is_refused(tiny_run, cli, tmp_path, key):
    precious, evil = tmp_path / "precious.txt", tmp_path / "evil.ckpt"
    precious.write_text("of the user")
    checkpoint = torch.load(tiny_run[0].checkpoint, weights_only=True)
    node = {"_target_": FOREIGN[key], "filename": str(precious), "mode": "w"}
    config = OmegaConf.create(checkpoint["spg_lightning"]["config"])
    OmegaConf.update(config, key, node, merge=False)
    checkpoint["spg_lightning"]["config"] = OmegaConf.to_container(config)
    torch.save(checkpoint, evil)
    outcome = cli("evaluate", f"checkpoint={evil}", f"output_dir={tmp_path / 'out'}", "num_workers=0")
    assert outcome.code == 1
    assert f"would construct {FOREIGN[key]}" in outcome.line
    assert precious.read_text() == "of the user"
