"""The licences of all dependencies are listed and compatible with MIT."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT


def licences(constraints, *folders):
    """Run docs/licences.py with further folders of installed packages."""
    return subprocess.run(
        [sys.executable, ROOT / "docs/licences.py", constraints],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def installed():
    """Licence of each package that is installed in the version of constraints.txt."""
    listed = licences(ROOT / "constraints.txt")
    assert listed.returncode == 0, listed.stderr
    return {normalized(line.split()[0]): line.split(maxsplit=1)[1] for line in listed.stdout.splitlines()}


def test_every_dependency_has_a_row_with_its_licence(installed):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    required = {re.match(r"[\w.-]+", line)[0] for group in groups for line in group} - {project["name"]}
    rows = [line.split(" | ") for line in (ROOT / "docs/dependencies.md").read_text().splitlines() if " | " in line]
    stated = {row[0].removeprefix("| "): row[4] for row in rows if row[0] not in ("| package", "| ---")}
    assert set(stated) == required
    known = {name: installed[normalized(name)] for name in stated if normalized(name) in installed}
    assert {name: stated[name] for name in known} == known


STATEMENTS = {
    "License-Expression: AGPL-3.0-only": False,
    "License-Expression: MIT AND GPL-2.0-only": False,
    "License-Expression: MIT OR GPL-2.0-only": False,  # a choice has to be made by hand
    "License-Expression: (MIT OR Apache-2.0) AND BSD-3-Clause": True,
    "License-Expression: MIT\nClassifier: License :: Other/Proprietary License": True,
    "License: GPLv3": False,
    "License: Apache 2.0": True,
    "License: BSD\nClassifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)": False,
    "Classifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: MIT License": True,
    "Summary: no licence": False,
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_an_incompatible_licence_is_named(statement, tmp_path):
    (tmp_path / "birds-1.0.dist-info").mkdir()
    (tmp_path / "birds-1.0.dist-info/METADATA").write_text(
        f"Metadata-Version: 2.4\nName: birds\nVersion: 1.0\n{statement}\n"
    )
    (tmp_path / "constraints.txt").write_text("# a comment\nbirds==1.0\nother-birds==1.0\n")
    done = licences(tmp_path / "constraints.txt", tmp_path)
    assert done.returncode == (0 if STATEMENTS[statement] else 1)
    assert ("not known to be compatible with MIT: birds" in done.stderr) is not STATEMENTS[statement]
    assert "not installed in this version: other-birds" in done.stderr
