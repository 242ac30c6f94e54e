"""The documentation shows code that the tests execute, and links that exist."""

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import spg_lightning
from spg_lightning import read_benchmark_parts
from spg_lightning.data.readers.benchmark_metadata import LISTS
from tests import trees
from tests.checkpoints.test_published import import_published_names
from tests.conftest import ROOT

FOLDERS = ("docs", "experiments", "examples")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
API = sorted((ROOT / "docs/api").glob("*.md"))
BLOCKS = re.findall(r"`(examples/\S+)`\n\n```\w+\n(.*?)\n```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("file", "code"), BLOCKS, ids=[file for file, _ in BLOCKS])
def test_a_block_of_extending_is_a_file_of_the_example(file, code):
    """tests/examples/test_birdwatch.py executes the files."""
    assert code == (ROOT / file).read_text().rstrip()


def test_extending_shows_every_file_of_the_example():
    project = ROOT / "examples/birdwatch/birdwatch"
    files = {str(path.relative_to(ROOT)) for path in project.rglob("*") if path.suffix in (".py", ".yaml")}
    assert {file for file, _ in BLOCKS} == files - {"examples/birdwatch/birdwatch/__init__.py"}


def anchors_of(page):
    """Return the anchors that GitHub and the site give a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), f"{target}#{anchor}"


def test_broken_links_of_the_site_are_named(tmp_path):
    (tmp_path / "one.html").write_text(
        '<h1 id="top">1</h1><a href="two.html#there">2</a><a href="https://example.org">3</a>'
    )
    (tmp_path / "two.html").write_text('<p id="there"><a href="one.html#gone">1</a><img src="none.png"></p>')
    checked = subprocess.run(
        [sys.executable, ROOT / "docs/check_links.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 1
    assert checked.stdout.split() == ["two.html:", "none.png", "two.html:", "one.html#gone"]


def examples(page):
    """Return the code blocks of a page that show a Python session."""
    return re.findall(r"```pycon\n(.*?)```", page.read_text(), re.DOTALL)


def test_every_public_object_has_a_place_and_an_example():
    text = "\n".join(page.read_text() for page in API)
    code = "\n".join(block for page in API for block in examples(page))
    for name in spg_lightning.__all__:
        assert re.search(rf"^\.\. auto\w+:: {name}$", text, re.MULTILINE), f"{name} is on no page of docs/api"
        assert re.search(rf"\b{name}\b", code), f"{name} is in no example of docs/api"


@pytest.fixture(scope="module")
def example_folder(tiny_run, tmp_path_factory):
    """The files that the examples name."""
    result, cub = tiny_run
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(result.checkpoint, folder / "last.ckpt")
    (folder / "photos").mkdir()
    for name in ("one.jpg", "two.jpg"):
        Image.effect_noise((60, 40), 90).convert("RGB").save(folder / "photos" / name)
    shapes = import_published_names("benchmark/resnet50")
    torch.save({name: torch.rand(shape) * 0.02 for name, shape in shapes.items()}, folder / "published.pth")
    trees.write_folder(folder / "classes", parts=("",), classes=2, per_class=16)
    trees.write_ilsvrc(folder / "ilsvrc")
    trees.write_benchmark(folder / "lists")
    (folder / "cub").symlink_to(cub)
    return folder


def test_the_metadata_files_of_the_data_guide_are_read(tmp_path):
    shown = re.findall(r"`(metadata/\S+\.txt)`[^`]*```\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)
    assert {Path(file).name for file, _ in shown} == set(LISTS)
    for file, rows in shown:
        for split in ("train", "test"):
            target = tmp_path / file.replace("test", split)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(rows)
    for image_id, size in {"sparrow/one.jpg": (60, 40), "gull/two.jpg": (80, 60)}.items():
        (tmp_path / image_id).parent.mkdir()
        Image.new("RGB", size).save(tmp_path / image_id)
    records = read_benchmark_parts(str(tmp_path), str(tmp_path / "metadata"), masks=None, class_names=None).test
    assert records.labels.tolist() == [0, 1]
    assert records.boxes_of(0).tolist() == [[10, 5, 49, 29]]
    assert len(records.boxes_of(1)) == 2


class ValuesOnly(doctest.OutputChecker):
    """What an example without a value prints, such as progress and tables, is not compared."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


WITH_EXAMPLES = [
    # the commands train, predict and export
    pytest.param(page, marks=[pytest.mark.slow] if page.stem == "commands" else [], id=str(page.relative_to(ROOT)))
    for page in PAGES
    if examples(page)
]


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_the_examples_of_a_page_run(page, example_folder, monkeypatch, capfd):
    monkeypatch.chdir(example_folder)
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(example_folder / "cache"))
    session = doctest.DocTestParser().get_doctest("\n".join(examples(page)), {}, page.stem, str(page), 0)
    runner = doctest.DocTestRunner(ValuesOnly(), optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    failures: list[str] = []
    runner.run(session, out=failures.append)
    assert not runner.failures, "".join(failures)
