"""The rooms of the package: nothing imports upwards, the root is small, names are unique, and the tests mirror the source."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "spg_lightning"
# from low to high; a module may import from its own layer and from those before it
LAYERS = [
    {"errors"},
    {"utils"},
    {"localization", "stems", "data"},
    {"spg"},
    {"baselines", "score_maps"},
    {"optim", "checkpoints"},
    {"localizer", "exporting"},
    {"datamodule"},
    {"evaluation.results"},
    {"module"},
    {"reporting"},
    {"callbacks", "loggers", "evaluation", "predicting"},
    {"comparison"},
    {"config"},
    {"train", "evaluate", "predict", "prepare", "report", "convert", "export", "push"},
]
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def layer_of(name: str) -> int:
    fitting = [
        (len(room), number)
        for number, layer in enumerate(LAYERS)
        for room in layer
        if f"{name}.".startswith(f"{room}.")
    ]
    assert fitting, f"{name} is in no layer; add its room to LAYERS"
    return max(fitting)[1]


def imported(path: Path) -> set[str]:
    """Names of all modules of this package that a file imports, also inside functions and for type checking."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spg_lightning"):
            module = node.module.removeprefix("spg_lightning").lstrip(".")
            inside = [f"{module}.{alias.name}".strip(".") for alias in node.names]
            names |= {name if (SOURCE / f"{name.replace('.', '/')}.py").is_file() else module for name in inside}
        elif isinstance(node, ast.Import):
            names |= {
                alias.name.removeprefix("spg_lightning.")
                for alias in node.names
                if alias.name.startswith("spg_lightning.")
            }
    return names - {"", "conf"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_imports_upwards(path):
    own = layer_of(name_of(path))
    upwards = sorted(name for name in imported(path) if layer_of(name) > own)
    assert not upwards, f"{name_of(path)} imports {upwards}, which are built on it"


def test_one_module_knows_albumentations():
    importing = [
        name_of(path)
        for path in FILES
        if re.search(r"^\s*(import|from) albumentations", path.read_text(), re.MULTILINE)
    ]
    assert importing == ["data.transforms"]


def test_the_root_is_small():
    files = [path for path in SOURCE.iterdir() if path.is_file()]
    assert len(files) <= 16, sorted(path.name for path in files)


def test_no_two_modules_share_a_name():
    counts = Counter(path.stem for path in FILES if path.stem != "__init__")
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_tests_mirror_the_source():
    """A test of a module lies in the folder of its room; its name begins as the module's, or describes several together."""
    rooms = {path.parent.relative_to(SOURCE) for path in FILES} | {
        Path("experiments"),
        Path("faults"),
        Path("examples"),
        Path("reference"),
        Path("reliability"),
    }
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert path.parent.relative_to(ROOT / "tests") in rooms, path
    modules = {path.stem for path in FILES} | {"architecture", "docs", "notebooks", "package"}
    for path in (ROOT / "tests").glob("test_*.py"):
        assert any(path.stem.removeprefix("test_").startswith(name) for name in modules), path
