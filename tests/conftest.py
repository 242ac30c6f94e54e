"""What tests share."""

import logging
import os
import shutil
import signal
from importlib import import_module
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# shapes in signatures are checked in every call that a test makes; not where torch.compile or numba would see the checks
SHAPED = (
    *(f"score_maps.{name}" for name in ("attention", "branches", "context", "grad_cam", "grad_cam_plus_plus", "input_gradient",
                                        "layer_cam", "score_cam")),
    "spg.guidance", "spg.losses", "spg.maps",
)  # fmt: skip
import_module("tests.shapes")  # the hook looks it up, and does not import it
install_import_hook([f"spg_lightning.{name}" for name in SHAPED], "tests.shapes.checked")

# `nohup make test &` starts with Ctrl-C ignored, which all processes of the tests would inherit
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("SPG_SHARED", Path(__file__).parents[2] / "shared"))
ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs files that do not travel with the project."""
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"reference files not found at {SHARED}; set SPG_SHARED to their folder")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


class Outcome:
    """The end of a command: exit code, standard output and standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def line(self) -> str:
        """The one line of a user's mistake."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """Run a command as its command line does, in this process and an empty working directory."""
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call(name: str, *arguments: str) -> Outcome:
        monkeypatch.setattr("sys.argv", [f"spg-{name}", *arguments])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        code = 0
        try:
            import_module(f"spg_lightning.{name}").main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            GlobalHydra.instance().clear()
        return Outcome(code, *capfd.readouterr())

    yield call
    from spg_lightning.utils.terminal import TerminalHandler

    # Hydra's handlers write to this test's captured output and folder, which are gone when the next test logs
    for handler in logging.root.handlers[:]:
        if type(handler) in (logging.StreamHandler, logging.FileHandler, TerminalHandler):
            logging.root.removeHandler(handler)


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


TINY = (
    "dataset=cub",
    "dataset.resize=72",
    "dataset.crop=64",
    "dataset.batch_size=4",
    "stem.weights=none",
    "stem.a3_channels=16",
    "stem.b_channels=8",
    "data.num_workers=0",
    "gallery_images=2",
    "trainer.accelerator=cpu",
    "module.num_thresholds=50",
    "trainer.log_every_n_steps=1",
)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """An SPG network trained for two steps on a small CUB tree: (result, data folder)."""
    from spg_lightning import compose, train
    from tests.trees import write_cub

    folder = tmp_path_factory.mktemp("tiny")
    data = write_cub(folder / "cub", segmentations=True)
    cfg = compose(
        "train", [*TINY, f"dataset.root={data}", "trainer.max_epochs=1", f"output_dir={folder / 'run'}", "logger=csv"]
    )
    return train(cfg), data


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    """Write a small CUB tree for runs that die and resume."""
    from tests.trees import write_cub

    return write_cub(tmp_path_factory.mktemp("resuming") / "cub", per_class=12)


@pytest.fixture(scope="module")
def whole(cub):
    """Train the uninterrupted run: three epochs of three steps."""
    from tests.callbacks.helpers import run

    run(cub, cub.parent / "whole", "keep_resume_state=true")
    return cub.parent / "whole"
