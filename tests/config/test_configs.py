"""Every YAML names arguments its constructor has, every choice composes, and each number stands in one place."""

import inspect
from importlib import import_module

import pytest
import wandb
import yaml
from omegaconf import OmegaConf
from pytorch_lightning.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from spg_lightning import compose
from spg_lightning.loggers.wandb import WandbResultsLogger
from tests.conftest import ROOT

CONF = ROOT / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
CHOICES = sorted(
    (str(file.parent.relative_to(CONF)), file.stem)
    for file in FILES
    if file.parent != CONF and file.parent.name not in ("help", "experiment") and file.parent.parent.name != "tuned"
)
# targets with **kwargs -> the functions that take them, beside the base class
PASSED_ON = {WandbResultsLogger: (wandb.init,), DDPStrategy: (DistributedDataParallel,)}
NEEDS = {
    "joblib": "joblib_launcher",
    "submitit_slurm": "submitit_launcher",
    "submitit_local": "submitit_launcher",
}  # plugins of the extra `sweeps`


def nodes(node):
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from nodes(value)


def accepted(target):
    """Names of all keyword arguments that a target takes: its own, and where it passes on more, those of the receiver."""
    names, signature = set(), inspect.signature(target)
    while True:
        names |= {p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD}
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            return names
        receivers = [*PASSED_ON.get(target, ()), *inspect.getmro(target)[1:2]] if inspect.isclass(target) else []
        assert receivers, f"{target} takes any keyword: say in PASSED_ON which function checks them"
        target, *others = receivers
        for other in others:
            names |= {p.name for p in inspect.signature(other).parameters.values() if p.kind is not p.VAR_KEYWORD}
        signature = inspect.signature(target)


def located(target):
    module, name = target.rsplit(".", 1)
    return getattr(import_module(module), name)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CONF)))
def test_keys_are_the_constructors_arguments(file):
    text = file.read_text()
    assert text.startswith("#") or file.parent.name == "help", "the first line says what the file is"
    for node in nodes(yaml.safe_load(text)):
        names = accepted(located(node["_target_"]))
        for key in node:
            assert key in ("_target_", "_partial_", "_recursive_", "defaults") or key in names, (node["_target_"], key)


def test_a_misspelt_key_of_a_target_that_passes_keywords_on_is_found():
    names = accepted(WandbResultsLogger)
    assert {"project", "job_type", "timeouts"} <= names
    assert "projet" not in names


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CONF)))
def test_what_a_config_states_has_no_second_default_in_the_code(file):
    for node in nodes(yaml.safe_load(file.read_text())):
        target = located(node["_target_"])
        if getattr(target, "__init__", None) is object.__init__:
            continue  # a class without arguments
        if not (target.__init__ if inspect.isclass(target) else target).__module__.startswith("spg_lightning."):
            continue  # a library's own, or a subclass that takes what the library's class takes
        parameters = inspect.signature(target).parameters
        for key in set(node) & set(parameters):
            assert parameters[key].default is inspect.Parameter.empty, (node["_target_"], key)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes(group, choice):
    if choice in NEEDS:
        pytest.importorskip(f"hydra_plugins.hydra_{NEEDS[choice]}", reason="the extra `sweeps` is not installed")
    command, needed = ("predict", ["checkpoint=x", "images=x"]) if group == "writer" else ("train", [])
    if group.startswith("hydra/sweeper/"):
        needed = ["+sweep=optuna"]
    cfg = compose(command, [f"{'+' if group == 'sweep' else ''}{group}={choice}", "output_dir=x", *needed])
    assert OmegaConf.to_container(cfg, resolve=True)


@pytest.mark.parametrize("name", ["paper", "author_code", "benchmark_default"])
def test_threshold_sets_are_legal(name):
    from spg_lightning import Thresholds

    thresholds = Thresholds.of(compose("train", [f"thresholds={name}", "output_dir=x"]).thresholds)
    assert thresholds.b1 == (0.5, 0.05)


@pytest.mark.shared
def test_threshold_sets_are_the_published_ones():
    from tests.conftest import SHARED

    published = yaml.safe_load((SHARED / "paper" / "spg_eccv2018.yaml").read_text())["thresholds"]
    ours = {file.stem: yaml.safe_load(file.read_text()) for file in (CONF / "thresholds").glob("*.yaml")}
    assert {
        name: [[bands[b]["high"], bands[b]["low"]] for b in ("b2", "b1", "c")] for name, bands in ours.items()
    } == published


TUNED = sorted((file.parent.name, file.stem) for file in (CONF / "tuned").rglob("*.yaml"))


@pytest.mark.parametrize(("experiment", "method"), TUNED)
def test_an_experiment_takes_what_was_tuned_for_its_method(experiment, method):
    cfg = compose("train", [f"experiment={experiment}", f"method={method}", "output_dir=x"])
    file = CONF / "tuned" / experiment / ("cam.yaml" if method == "spg_plain" else f"{method}.yaml")
    tuned = yaml.safe_load(file.read_text())
    assert (cfg.method.name, cfg.stem.name) == (method, experiment.removeprefix("benchmark_cub_"))
    assert cfg.dataset.lr == tuned["dataset"]["lr"] != 0.001
    assert OmegaConf.merge(cfg, OmegaConf.create({k: v for k, v in tuned.items() if k != "defaults"})) == cfg
    assert cfg.optimizer.lr == cfg.dataset.lr  # and it arrives


def test_without_an_experiment_nothing_is_tuned():
    assert compose("train", ["method=has", "output_dir=x"]).method.step.drop_rate == 0.5
