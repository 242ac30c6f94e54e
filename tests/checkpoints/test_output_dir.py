"""An output folder belongs to one run: nothing of an earlier run is lost without the user's word."""

import errno
import json
import shutil

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.checkpoints.output_dir import check_not_over, check_output_dir, claim_output_dir, resume_of_restart
from spg_lightning.checkpoints.resume_state import find_resume_state
from spg_lightning.utils.run_dir import RunDir
from tests.callbacks.helpers import Died, assert_same, dies, run, weights
from tests.checkpoints.handmade import CONFIG, checkpoint


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def best_step(folder):
    return torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["global_step"]


@pytest.mark.parametrize(
    "limit", ["trainer.max_epochs=1", "trainer.max_steps=4", "dataset.max_epochs=1 trainer.max_epochs=1"]
)
def test_an_exceeded_limit_leaves_the_folder_unchanged(cub, tmp_path, limit):
    """Lightning refuses such a resume only after the files that mark a finished run would be gone."""
    run(cub, tmp_path, "trainer.max_epochs=2", "keep_resume_state=true")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"trainer.max_\w+=\d, but .*resume.ckpt is at step 6, after 2 epochs"):
        run(cub, tmp_path, *limit.split(), "resume=auto")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("change", ["dataset.lr=0.01", "seed=0"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_used_folder_is_refused(cub, whole, tmp_path, finished, change):
    """The same config is refused, too: training again is for the user to decide."""
    if finished:
        shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    else:
        with pytest.raises(Died):
            run(cub, tmp_path, *dies(4), "checkpoint_every_steps=1")
    before = contents(tmp_path)
    kind = "a finished" if finished else "an unfinished"
    with pytest.raises(
        UserError, match=f"holds {kind} run; continue it with resume=auto, replace it with overwrite=true"
    ):
        run(cub, tmp_path, change)
    assert contents(tmp_path) == before


def test_a_used_folder_refuses_the_checkpoint_of_another_run(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(4), "dataset.lr=0.01", "checkpoint_every_steps=1")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds an unfinished run"):
        run(cub, tmp_path, f"resume={whole / 'checkpoints/resume.ckpt'}")
    assert contents(tmp_path) == before


def test_overwrite_replaces_a_run(cub, whole, tmp_path):
    (tmp_path / "notes.txt").write_text("my own file")
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(8), "dataset.lr=0.01", "checkpoint_every_steps=1")
    run(cub, tmp_path, "overwrite=true")
    assert_same(tmp_path, whole)
    assert (tmp_path / "notes.txt").read_text() == "my own file"
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.ckpt", "last.ckpt"]


def test_overwrite_and_resume_from_another_folder(cub, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(8), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, *dies(4), "dataset.lr=0.01", "checkpoint_every_steps=1")
    run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", "overwrite=true")
    assert_same(second, whole)


def test_a_mistake_does_not_overwrite(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="is missing"):
        run(cub.parent / "nowhere", tmp_path, "overwrite=true")
    assert contents(tmp_path) == before
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("how", ["moved", "into another folder"])
def test_the_best_checkpoint_is_remembered_elsewhere(cub, whole, tmp_path, how):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(8), "checkpoint_every_steps=1")
    if how == "moved":
        first.rename(second)
        run(cub, second, "resume=auto")
    else:
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}")
    assert best_step(second) == best_step(whole)
    assert best_step(whole) < 8, "otherwise a forgotten best checkpoint would go unnoticed"
    assert torch.equal(*(weights(folder, "best")["network.a4.weight"] for folder in (second, whole)))


def test_resuming_from_the_previous_checkpoint_by_name(cub, whole, tmp_path):
    """As the message about a damaged checkpoint says; the damaged one must not take its place."""
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    last, previous = (tmp_path / "checkpoints" / name for name in ("resume.ckpt", "resume.previous.ckpt"))
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), f"resume={previous}", "checkpoint_every_steps=1")
    assert [torch.load(path, weights_only=True)["resume"]["step"] for path in (previous, last)] == [3, 4]
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)


def test_a_run_that_slurm_restarts_resumes(cub, whole, tmp_path, monkeypatch):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, tmp_path)
    assert_same(tmp_path, whole)
    assert json.loads((tmp_path / "provenance.json").read_text())["resumed_after_steps"] == [4]


def test_a_restarted_run_does_not_return_to_the_checkpoint_it_began_with(cub, whole, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(3), "checkpoint_every_steps=1")
    resume = f"resume={first / 'checkpoints/resume.ckpt'}"
    with pytest.raises(Died):
        run(cub, second, resume, *dies(8), "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, second, resume)
    assert_same(second, whole)
    assert json.loads((second / "provenance.json").read_text())["resumed_after_steps"] == [2, 7]


def test_a_run_restarted_before_it_had_begun(cub, whole, tmp_path, monkeypatch):
    """The checkpoints in its folder are another run's."""
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(5), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, *dies(5), "dataset.lr=0.5", "schedule=constant", "checkpoint_every_steps=1")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", "overwrite=true")
    assert_same(second, whole)


def test_a_restarted_run_needs_a_folder_of_its_own(cli, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert cli("train", "--cfg", "job").code == 0, "nothing is run"
    outcome = cli("train")
    assert outcome.code == 1
    assert outcome.err.startswith("error: Slurm or torchrun restarted this run, but its folder was named after")


def test_a_checkpoint_from_another_folder_is_copied_at_once(cub, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(Died):
        run(cub, first, *dies(5), "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", *dies(5))
    run(cub, second, "resume=auto")
    assert_same(second, whole)
    assert json.loads((second / "provenance.json").read_text())["resumed_after_steps"] == [4]


def test_a_copy_of_a_run_of_ones_own(cub, whole, tmp_path):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(5), "checkpoint_every_steps=1")
    copy = tmp_path / "checkpoints/mine.ckpt"
    shutil.copy(tmp_path / "checkpoints/resume.ckpt", copy)
    run(cub, tmp_path, f"resume={copy}", "overwrite=true")
    assert_same(tmp_path, whole)
    assert copy.is_file()


def test_a_checkpoint_that_cannot_be_copied(cub, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, more in ((first, ()), (second, ("dataset.lr=0.01",))):
        with pytest.raises(Died):
            run(cub, folder, *dies(5), *more, "checkpoint_every_steps=1")
    before = contents(second)

    def full(old, new):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(
        UserError, match=r"cannot copy .*resume.ckpt to .*\(No space left on device\); the folder is unchanged"
    ):
        run(cub, second, f"resume={first / 'checkpoints/resume.ckpt'}", "overwrite=true")
    assert contents(second) == before


def test_a_finished_run_without_its_state_is_not_resumed(cub, tmp_path, monkeypatch):
    run(cub, tmp_path, "trainer.max_epochs=1")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds a finished run; replace it with overwrite=true"):
        run(cub, tmp_path)
    for longer in ("resume=auto", f"resume={tmp_path / 'checkpoints/resume.ckpt'}"):
        with pytest.raises(UserError, match="to train a run longer, it has to be trained with keep_resume_state=true"):
            run(cub, tmp_path, longer, "trainer.max_epochs=3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(UserError, match="holds a finished run without the state to resume from"):
        run(cub, tmp_path, "trainer.max_epochs=1")
    assert contents(tmp_path) == before


@pytest.fixture
def run_dir(tmp_path):
    """The folder of a finished run with its resume checkpoints and a seed map; files that are no run's stay."""
    run_dir = RunDir(tmp_path / "run")
    run_dir.seeds.mkdir(parents=True)
    for name in ("config", "metrics", "provenance", "log"):
        getattr(run_dir, name).write_text(f"resume: {name}")
    for name in ("best", "last", "resume", "previous"):
        atomic_save(checkpoint(step=len(name)), getattr(run_dir, name))
    (run_dir.seeds / "round1.npy").write_text("seeds")
    return run_dir


def names(run_dir):
    return sorted(str(path.relative_to(run_dir.path)) for path in run_dir.path.rglob("*") if path.is_file())


def test_who_may_use_the_folder_of_a_run(run_dir, tmp_path):
    check_output_dir(RunDir(tmp_path / "new"), resume=None, overwrite=False)
    check_output_dir(run_dir, resume=None, overwrite=True)
    for resume in ("auto", str(run_dir.resume), str(run_dir.previous)):
        check_output_dir(run_dir, resume, overwrite=False)
    kinds = {"a finished run; continue it with": None, "an unfinished run; continue": run_dir.provenance}
    for kind, gone in kinds.items():
        if gone:
            gone.unlink()
        for resume in (None, str(run_dir.best)):
            with pytest.raises(UserError, match=f"output_dir={run_dir.path} holds {kind}"):
                check_output_dir(run_dir, resume, overwrite=False)


def test_a_finished_run_without_its_state_cannot_go_on(run_dir):
    check_not_over(run_dir, overwrite=False)
    run_dir.resume.unlink()
    run_dir.previous.unlink()
    with pytest.raises(
        UserError, match="holds a finished run; replace it with overwrite=true, or choose another folder"
    ):
        check_output_dir(run_dir, resume=None, overwrite=False)
    check_not_over(run_dir, overwrite=True)
    with pytest.raises(UserError, match=r"a finished run without the state to resume from; .*keep_resume_state=true"):
        check_not_over(run_dir, overwrite=False)
    run_dir.provenance.unlink()
    check_not_over(run_dir, overwrite=False)


def test_a_restarted_run_resumes_from_its_own_checkpoint(run_dir):
    assert resume_of_restart(None, run_dir) == "auto"
    assert resume_of_restart("config", run_dir) == "auto"  # as this run's config has it
    assert resume_of_restart("other.ckpt", run_dir) == "other.ckpt"
    run_dir.config.unlink()
    assert resume_of_restart("config", run_dir) == "config"
    run_dir.config.write_text("resume: config")
    run_dir.resume.unlink()
    run_dir.previous.unlink()
    assert resume_of_restart("config", run_dir) == "config"


def test_a_fresh_run_replaces_the_files_of_a_run(run_dir):
    (run_dir.path / "notes.txt").touch()
    claim_output_dir(run_dir, None)
    assert names(run_dir) == ["notes.txt"]


def test_a_run_that_resumes_in_its_folder_keeps_its_files(run_dir):
    before = names(run_dir)
    claim_output_dir(run_dir, find_resume_state("auto", run_dir, CONFIG))
    assert names(run_dir) == sorted({*before} - {"metrics.json", "provenance.json"})
    assert torch.load(run_dir.resume, weights_only=True)["resume"]["step"] == len("resume")
    previous = find_resume_state(str(run_dir.previous), run_dir, CONFIG)
    claim_output_dir(run_dir, previous)
    assert not run_dir.resume.exists()
    assert torch.load(run_dir.checkpoints / "damaged.ckpt", weights_only=True)["resume"]["step"] == len("resume")
    claim_output_dir(run_dir, previous)
    assert run_dir.previous.is_file()


def test_a_run_that_resumes_elsewhere_takes_what_it_needs(run_dir, tmp_path):
    before, new = contents(run_dir.path), RunDir(tmp_path / "new")
    claim_output_dir(new, find_resume_state(str(run_dir.resume), run_dir, CONFIG))
    assert contents(run_dir.path) == before
    assert names(new) == ["checkpoints/best.ckpt", "checkpoints/resume.ckpt", "metrics.csv", "seeds/round1.npy"]
    for path in (new.best, new.resume, new.log, new.seeds / "round1.npy"):
        assert path.read_bytes() == (run_dir.path / path.relative_to(new.path)).read_bytes()
    (run_dir.seeds / "round1.npy").unlink()
    run_dir.best.unlink()
    new = RunDir(tmp_path / "newer")
    new.checkpoints.mkdir(parents=True)
    new.last.touch()
    claim_output_dir(new, find_resume_state(str(run_dir.previous), run_dir, CONFIG))
    assert names(new) == ["checkpoints/resume.ckpt", "metrics.csv"]
    assert not new.seeds.exists()
    assert torch.load(new.resume, weights_only=True)["resume"]["step"] == len("previous")
