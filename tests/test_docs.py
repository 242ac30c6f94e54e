"""The documentation shows code that the tests execute, and links that exist."""

import re

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "experiments").rglob("README.md"))]
BLOCKS = re.findall(r"`(examples/\S+)`\n\n```\w+\n(.*?)\n```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("file", "code"), BLOCKS, ids=[file for file, _ in BLOCKS])
def test_a_block_of_extending_is_a_file_of_the_example(file, code):
    """tests/examples/test_birdwatch.py executes the files."""
    assert code == (ROOT / file).read_text().rstrip()


def test_extending_shows_every_file_of_the_example():
    project = ROOT / "examples/birdwatch/birdwatch"
    files = {str(path.relative_to(ROOT)) for path in project.rglob("*") if path.suffix in (".py", ".yaml")}
    assert {file for file, _ in BLOCKS} == files - {"examples/birdwatch/birdwatch/__init__.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
