"""The notebooks run from top to bottom, on tiny settings, and are kept without what they printed."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import spg_lightning
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALWAYS = ("data.num_workers=0", "trainer.accelerator=cpu", "trainer.max_epochs=1", "module.num_thresholds=50")
TOY = (
    *ALWAYS, "dataset.reader.num_train=48", "dataset.reader.num_test=16", "dataset.resize=72", "dataset.crop=64",
    "stem.weights=none", "stem.a3_channels=16", "stem.b_channels=8",
)  # fmt: skip


@pytest.fixture
def execute(monkeypatch, tmp_path):
    """Run a notebook in an empty folder; returns what its code cells gave: lists of (mime type, content)."""

    def run(name, **variables):
        for key in ("SPG_CHECKPOINT", "SPG_OVERRIDES", "SPG_PHOTO", "SPG_RUNS", "SPG_BASELINE"):
            monkeypatch.delenv(key, raising=False)
        package = Path(spg_lightning.__file__).parents[1]  # the kernel's is to be the one that is tested
        folders = {"PYTHONPATH": package, "TMPDIR": tmp_path, "SPG_LIGHTNING_CACHE": tmp_path / "cache"}
        for key, value in {**variables, **folders}.items():
            monkeypatch.setenv(key, str(value))
        notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        (tmp_path / "empty").mkdir()
        where = {"metadata": {"path": str(tmp_path / "empty")}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
        assert not list((tmp_path / "empty").iterdir())
        given = []
        for cell in notebook.cells:
            for out in cell.get("outputs", []):
                if out.output_type == "stream" and out.name == "stdout":
                    given.append(("text", out.text))
                elif "data" in out:
                    kind = next(k for k in ("image/png", "text/markdown", "text/plain") if k in out["data"])
                    given.append((kind, out["data"][kind]))
        return given

    return run


def of(kind, given):
    return [content for mime, content in given if mime == kind]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_kept_clean(file):
    for cell in json.loads(file.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.slow
def test_what_spg_does_with_a_checkpoint(execute, tiny_run):
    given = execute("01_what_spg_does.ipynb", SPG_CHECKPOINT=tiny_run[0].checkpoint, SPG_PHOTO=3)
    assert len(of("image/png", given)) == 7
    text = "".join(of("text", given))
    for name in ("B2: delta_h 0.7, delta_l 0.1", "B1: delta_h 0.5, delta_l 0.05", "total"):
        assert name in text


@pytest.mark.slow
def test_what_spg_does_trains_by_itself(execute):
    given = execute("01_what_spg_does.ipynb", SPG_OVERRIDES=" ".join(TOY))
    assert of("text", given)[-1].startswith("  cls")
    assert "toybirds, efficientnet_lite0, spg; localizes with" in "".join(of("text", given))


@pytest.mark.slow
def test_read_a_sweep_of_its_own(execute):
    given = execute("02_read_a_sweep.ipynb", SPG_OVERRIDES=" ".join(TOY))
    table, by_map = of("text/markdown", given)
    rows = [line.split(" | ")[:2] for line in table.splitlines()[2:]]
    assert rows == [
        ["| spg", "0, 1"],
        ["| spg guidance=direct", "0, 1"],
        ["| spg_plain", "0, 1"],
        ["| blind centred box", ""],
    ]
    assert by_map.startswith("| variant | attention | c | fused | b1 | b2 |")
    assert len(of("image/png", given)) == 2


@pytest.mark.slow
def test_read_a_folder_of_runs(execute, tiny_run, tmp_path):
    """One finished run, and one that was stopped."""
    runs = tmp_path / "runs"
    (runs / "stopped").mkdir(parents=True)
    shutil.copytree(tiny_run[0].output_dir, runs / "done")
    config = (tiny_run[0].output_dir / "config.yaml").read_text()
    (runs / "stopped" / "config.yaml").write_text(config)
    given = execute("02_read_a_sweep.ipynb", SPG_RUNS=runs)
    table = of("text/markdown", given)[0]
    error = tiny_run[0].metrics["test/gt_known_error"]
    assert f"| spg | 0 | {tiny_run[0].evaluation.score_map} | {error:.1f} |" in table
    assert f"1 runs of 1 variants; stopped: ['{runs}/stopped']" in "".join(of("text", given))
