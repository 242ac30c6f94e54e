"""A finished run keeps what can be used, once."""

import shutil

import pytest
import torch

from spg_lightning.checkpoints.finished_run import remove_unneeded_checkpoints, share_equal_weights
from spg_lightning.utils.run_dir import RunDir
from tests.callbacks.helpers import run, weights

STATE = {"optimizer_states", "lr_schedulers", "loops", "callbacks"}


def test_weights_without_the_state_of_the_training(whole):
    for name in ("best", "last"):
        assert not STATE & set(torch.load(whole / f"checkpoints/{name}.ckpt", weights_only=True))
    assert set(torch.load(whole / "checkpoints/resume.ckpt", weights_only=True)) >= STATE


def test_equal_weights_are_stored_once(cub, tmp_path):
    run(cub, tmp_path, "trainer.max_epochs=1")  # one validation, after the last step
    run_dir = RunDir(tmp_path)
    assert run_dir.best.samefile(run_dir.last)
    assert torch.load(run_dir.best, weights_only=True)["spg_lightning"]["localization"]


def test_different_weights_stay_apart(whole, tmp_path):
    run_dir = RunDir(tmp_path)
    shutil.copytree(whole / "checkpoints", run_dir.checkpoints)
    before = weights(tmp_path, "best")
    assert not torch.equal(before["network.a4.weight"], weights(tmp_path)["network.a4.weight"]), "nothing to tell apart"
    share_equal_weights(run_dir.last, run_dir.best)
    assert not run_dir.best.samefile(run_dir.last)
    assert torch.equal(weights(tmp_path, "best")["network.a4.weight"], before["network.a4.weight"])


def test_one_file_alone_stays_as_it_is(whole, tmp_path):
    run_dir = RunDir(tmp_path)
    run_dir.checkpoints.mkdir()
    shutil.copy(whole / "checkpoints/last.ckpt", run_dir.last)
    share_equal_weights(run_dir.last, run_dir.best)
    assert [path.name for path in run_dir.checkpoints.iterdir()] == ["last.ckpt"]
    share_equal_weights(run_dir.last, run_dir.last)
    assert run_dir.last.stat().st_nlink == 1


def test_without_hard_links_both_stay(whole, tmp_path, monkeypatch):
    run_dir = RunDir(tmp_path)
    run_dir.checkpoints.mkdir()
    for path in (run_dir.best, run_dir.last):
        shutil.copy(whole / "checkpoints/last.ckpt", path)

    def refused(*paths):
        raise PermissionError("no hard links here")

    monkeypatch.setattr("os.link", refused)
    share_equal_weights(run_dir.last, run_dir.best)
    assert not run_dir.best.samefile(run_dir.last)
    monkeypatch.undo()
    share_equal_weights(run_dir.last, run_dir.best)
    assert run_dir.best.samefile(run_dir.last)


@pytest.mark.parametrize(
    ("keep", "state", "kept"),
    [
        ("all", False, ["best.ckpt", "last.ckpt", "mine.ckpt"]),
        ("all", True, ["best.ckpt", "last.ckpt", "mine.ckpt", "resume.ckpt"]),
        ("evaluated", False, ["best.ckpt", "mine.ckpt"]),
        ("best_of_sweep", True, ["best.ckpt", "mine.ckpt", "resume.ckpt"]),
    ],
)
def test_what_is_kept(tmp_path, keep, state, kept):
    run_dir = RunDir(tmp_path)
    run_dir.checkpoints.mkdir()
    for name in ("best", "last", "resume", "resume.previous", "mine"):
        (run_dir.checkpoints / f"{name}.ckpt").touch()
    remove_unneeded_checkpoints(run_dir, run_dir.best, keep, state)
    assert sorted(path.name for path in run_dir.checkpoints.iterdir()) == kept
