"""What is installed is what stands in the checkout; importing it is light and quiet."""

import ast
import inspect
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest

import spg_lightning
from tests.conftest import ROOT


def test_every_package_is_listed_for_installation():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    source = ROOT / "src"
    there = {".".join(file.parent.relative_to(source).parts) for file in source.rglob("__init__.py")}
    assert listed == there | {"spg_lightning.conf"}


def test_every_name_of_the_public_api_is_documented():
    for name in spg_lightning.__all__:
        found = getattr(spg_lightning, name)
        doc = found.__doc__ or ""
        # a dataclass or named tuple without a docstring gets its signature
        assert doc, f"{name} has no docstring"
        assert not doc.startswith(f"{name}("), f"{name} has no docstring of its own"


def test_the_stub_and_the_runtime_agree():
    stub = ast.parse((ROOT / "src/spg_lightning/__init__.pyi").read_text())
    sources = {
        alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(sources) == sorted(spg_lightning.__all__) == sorted(set(dir(spg_lightning)) & set(sources))
    for name, module in sources.items():
        assert getattr(spg_lightning, name) is getattr(import_module(f"spg_lightning.{module}"), name), name


COMMANDS = ["train", "evaluate", "predict", "prepare", "report", "convert", "export", "push"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_stay_functions(command):
    main = import_module(f"spg_lightning.{command}").main  # the console script's
    assert main is not getattr(spg_lightning, command)
    assert inspect.isfunction(getattr(spg_lightning, command))


SLOW = {
    "torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning_fabric", "timm", "albumentations", "scipy",
    "matplotlib", "wandb", "kornia", "transformers",
}  # fmt: skip


def slow_imports(code):
    code += f"\nimport sys; print(*sorted({SLOW} & set(sys.modules)))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["config.command_line", *COMMANDS])
def test_importing_a_command_imports_nothing_slow(module):
    assert slow_imports(f"import spg_lightning.{module}") == set()


def test_importing_names_imports_what_they_need():
    assert slow_imports("from spg_lightning import train, compose, UserError") == set()
    assert slow_imports("from spg_lightning import Localizer") <= {"scipy"}  # its root alone, which numba imports
    assert not slow_imports("from spg_lightning import LocalizationMetric") & {
        "pytorch_lightning",
        "timm",
        "albumentations",
        "wandb",
    }


def test_training_says_what_it_does_before_the_slow_imports(tmp_path):
    code = f"""
import logging, sys
from spg_lightning import compose, train

class FirstLine(logging.Handler):
    def emit(self, record):
        sys.exit(f"{{record.getMessage()}} {{sorted({SLOW} & set(sys.modules))}}")

logger = logging.getLogger("spg_lightning")
logger.setLevel("INFO")
logger.addHandler(FirstLine())
train(compose("train", ["output_dir={tmp_path}"]))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr == f"toybirds, efficientnet_lite0, spg -> {tmp_path} []\n"


def test_a_command_runs_as_a_module():
    out = subprocess.run(
        [sys.executable, "-m", "spg_lightning.train", "--help"], capture_output=True, text=True, check=True
    )
    assert "stem: efficientnet_lite0, inception_v3" in out.stdout
    assert "method: acol, adl, cam, cutmix, has, spg, spg_plain" in out.stdout
    assert out.stdout.count("spg-train ") >= 3
