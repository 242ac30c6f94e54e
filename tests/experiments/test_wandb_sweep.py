"""The W&B sweep: the command of an agent composes, and every parameter is a key of the config."""

import yaml
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from spg_lightning import compose
from tests.conftest import ROOT


def test_the_command_of_an_agent(monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    sweep = yaml.safe_load((ROOT / "experiments/wandb_sweep/sweep.yaml").read_text())
    values = {key: node["values"][0] if "values" in node else node["min"] for key, node in sweep["parameters"].items()}
    given = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    env, command, *words, last = create_sweep_command(sweep["command"])
    assert (env, command, last) == ("${env}", "spg-train", "${args_no_hyphens}")
    cfg = compose("train", [*words, *given["args_no_hyphens"]])
    assert cfg.output_dir == "runs/wandb_sweep/abc"
    assert {key: OmegaConf.select(cfg, key) for key in values} == values
    assert sweep["metric"] == {"name": cfg.objective, "goal": "minimize"}
