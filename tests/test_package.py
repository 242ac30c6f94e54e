"""What is installed is what stands in the checkout; importing it is light and quiet."""

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


def test_every_name_of_the_public_api_exists():
    for name in spg_lightning.__all__:
        assert getattr(spg_lightning, name).__doc__, name


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "prepare", "report", "benchmark"])
def test_verbs_stay_functions(verb):
    main = import_module(f"spg_lightning.{verb}").main  # what a console script does
    assert main is not getattr(spg_lightning, verb)
    assert inspect.isfunction(getattr(spg_lightning, verb))


def test_importing_the_package_imports_no_torch():
    code = "import sys, spg_lightning, spg_lightning.config.command_line; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_verbs_module_runs_as_main():
    out = subprocess.run(
        [sys.executable, "-m", "spg_lightning.train", "--help"], capture_output=True, text=True, check=True
    )
    assert "stem: efficientnet_lite0, inception_v3" in out.stdout
    assert "method: acol, adl, cam, cutmix, has, spg, spg_plain" in out.stdout
    assert out.stdout.count("python -m spg_lightning.train ") >= 3
