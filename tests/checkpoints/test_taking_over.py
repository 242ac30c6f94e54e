"""What a folder held is not lost to a new run, and what goes on finds all that was its own."""

import errno
import json
import shutil

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.module import SPGModule
from tests.callbacks.helpers import Died, assert_same, dies, run, weights


@pytest.mark.parametrize(
    "limit", ["trainer.max_epochs=1", "trainer.max_steps=4", "dataset.max_epochs=1 trainer.max_epochs=1"]
)
def test_a_limit_that_was_passed_costs_nothing(cub, tmp_path, limit):
    """Lightning refuses to go on so; by then what says that a run is finished would have been taken away."""
    run(cub, tmp_path, "trainer.max_epochs=2")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(UserError, match=r"trainer.max_\w+=\d, but .*resume.ckpt has come to step 6, after 2 epochs"):
        run(cub, tmp_path, *limit.split(), "resume=auto")
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before


def test_into_a_folder_that_holds_another_run(cub, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(8), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, *dies(4), "dataset.lr=0.01", "checkpoint_every_steps=1")
    with pytest.raises(Died):  # a third run stays, too
        run(cub, second, *dies(5), "dataset.lr=0.1", "checkpoint_every_steps=1")
    run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    assert_same(second, whole)
    left = {
        name: torch.load(second / "checkpoints" / name, weights_only=True)["spg_lightning"]["config"]["dataset"]["lr"]
        for name in ("abandoned.ckpt", "abandoned.best.ckpt", "abandoned-2.ckpt", "abandoned-2.best.ckpt")
    }
    assert list(left.values()) == [0.01, 0.01, 0.1, 0.1]
    with pytest.raises(UserError, match="finished run of another config"):
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", "gallery_images=1")


@pytest.mark.parametrize("how", ["moved", "into another folder"])
def test_the_best_is_remembered_elsewhere(cub, whole, tmp_path, how):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(8), "checkpoint_every_steps=1")
    if how == "moved":
        first.rename(second)
        run(cub, second, "resume=auto")
    else:
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    best = [
        torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["global_step"] for folder in (second, whole)
    ]
    assert best[0] == best[1]
    assert best[1] < 8, "else a best that was forgotten would not be told"
    assert torch.equal(*(weights(folder, "best")["network.a4.weight"] for folder in (second, whole)))


def test_an_abandoned_run_goes_on_with_its_own_best(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(8), "checkpoint_every_steps=1")
    with pytest.raises(Died):  # another run, which has a validation and so a best of its own
        run(cub, tmp_path, *dies(4), "dataset.lr=0.01")
    assert (
        torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)["spg_lightning"]["config"]["dataset"]["lr"]
        == 0.01
    )
    run(cub, tmp_path, f"resume={tmp_path / 'checkpoints/abandoned.ckpt'}")
    assert torch.equal(*(weights(folder, "best")["network.a4.weight"] for folder in (tmp_path, whole)))


def test_a_mistake_leaves_the_run_of_before_as_it_was(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(UserError, match="is missing"):
        run(cub.parent / "nowhere", tmp_path)
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_the_one_before_by_name(cub, whole, tmp_path):
    """As the line about a damaged one says; the damaged one must not take its place."""
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    last, before = (tmp_path / "checkpoints" / name for name in ("resume.ckpt", "resume.previous.ckpt"))
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), f"resume={before}", "checkpoint_every_steps=1")
    assert [torch.load(path, weights_only=True)["resume"]["step"] for path in (before, last)] == [3, 4]
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_started_again_by_slurm_it_goes_on(cub, whole, tmp_path, monkeypatch):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, tmp_path)
    assert_same(tmp_path, whole)
    assert json.loads((tmp_path / "provenance.json").read_text())["resumed_after_steps"] == [4]


def test_started_again_it_does_not_go_back_to_where_it_was_told_to_begin(cub, whole, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(3), "checkpoint_every_steps=1")
    told = f"resume={first / 'checkpoints/resume.ckpt'}"
    with pytest.raises(Died):
        run(cub, second, told, *dies(8), "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, second, told)
    assert_same(second, whole)
    assert json.loads((second / "provenance.json").read_text())["resumed_after_steps"] == [2, 7]


def test_started_again_before_it_had_begun(cub, whole, tmp_path, monkeypatch):
    """What lies in its folder is another run's."""
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(5), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, *dies(5), "dataset.lr=0.5", "schedule=constant", "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    assert_same(second, whole)


def test_started_again_without_a_folder_of_its_own(verb, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert verb("train", "--cfg", "job").code == 0, "nothing is run"
    outcome = verb("train")
    assert outcome.code == 1
    assert outcome.err.startswith("error: Slurm or torchrun started this run again, but its folder was named after")


def test_a_finished_run_of_another_config_is_not_overwritten(cub, tmp_path):
    run(cub, tmp_path, "trainer.max_epochs=1")
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(UserError, match=r"finished run of another config \(dataset.lr=0.001 there, 0.01 here\)"):
        run(cub, tmp_path, "trainer.max_epochs=1", "dataset.lr=0.01")
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
    run(
        cub, tmp_path, "trainer.max_epochs=1", "trainer.precision=auto", "data.num_workers=auto"
    )  # the same: made again
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "resume.ckpt",
    ]


def test_a_finished_run_is_there_until_it_has_been_made_again(cub, whole, tmp_path, monkeypatch):
    def die(module, batch, batch_index):
        raise Died

    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "checkpoints", tmp_path / "before")
    monkeypatch.setattr(SPGModule, "training_step", die)  # a callback would make it another config
    with pytest.raises(Died):
        run(cub, tmp_path)
    for now, then in {"abandoned": "resume", "abandoned.best": "best"}.items():
        kept = (tmp_path / f"checkpoints/{now}.ckpt").read_bytes()
        assert kept == (tmp_path / f"before/{then}.ckpt").read_bytes()
    assert (tmp_path / "checkpoints/abandoned.metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_a_copy_of_its_own_checkpoint(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    copy = tmp_path / "checkpoints/mine.ckpt"
    shutil.copy(tmp_path / "checkpoints/resume.ckpt", copy)
    run(cub, tmp_path, f"resume={copy}")
    assert_same(tmp_path, whole)
    assert (tmp_path / "checkpoints/abandoned.ckpt").is_file()


def test_into_another_folder_it_is_there_at_once(cub, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(5), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", *dies(5))
    run(cub, second, "resume=auto")
    assert_same(second, whole)
    assert json.loads((second / "provenance.json").read_text())["resumed_after_steps"] == [4]


def test_a_fresh_run_sets_the_old_checkpoint_aside(cub, tmp_path, caplog):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(3), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(1))
    assert [file.name for file in (tmp_path / "checkpoints").iterdir() if "resume" in file.name] == []
    assert f"resume={tmp_path / 'checkpoints/abandoned.ckpt'}" in caplog.text


def test_without_room_for_what_is_brought(cub, tmp_path, monkeypatch):
    """Before anything of the run that was there is touched."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, more in ((first, ()), (second, ("dataset.lr=0.01",))):
        with pytest.raises(Died):
            run(cub, folder, *dies(5), *more, "checkpoint_every_steps=1")
    before = {path: path.read_bytes() for path in sorted(second.rglob("*")) if path.is_file()}

    def full(old, new):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(
        UserError, match=r"cannot copy .*resume.ckpt to .*\(No space left on device\); nothing there was touched"
    ):
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    assert {path: path.read_bytes() for path in sorted(second.rglob("*")) if path.is_file()} == before


@pytest.mark.parametrize("damaged", ["the last", "both"])
def test_what_is_set_aside_is_whole(cub, tmp_path, caplog, damaged):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    last, before = (tmp_path / "checkpoints" / name for name in ("resume.ckpt", "resume.previous.ckpt"))
    for path in (last, before) if damaged == "both" else (last,):
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(1))
    aside = tmp_path / "checkpoints/abandoned.ckpt"
    if damaged == "both":
        assert f"its checkpoints are damaged: {aside}" in caplog.text
    else:
        assert torch.load(aside, weights_only=True)["resume"]["step"] == 3
        assert f"resume={aside}" in caplog.text
