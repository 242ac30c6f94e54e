"""A sweep goes on after a failed job, continues where it was stopped, and overwrites nothing."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra._internal.core_plugins import basic_launcher
from hydra.core.override_parser.overrides_parser import OverridesParser

from spg_lightning import UserError, compose
from spg_lightning.config import sweep as sweeps
from spg_lightning.config import sweep_job as jobs
from spg_lightning.config.compose import compose_with_hydra
from spg_lightning.utils.run_dir import RunDir
from tests.conftest import TINY
from tests.trees import write_cub

SMALL = (*TINY, "dataset.resize=36", "dataset.crop=32", "trainer.max_epochs=1", "gallery_images=0", "report_images=0")


@pytest.fixture
def cub(tmp_path):
    return write_cub(tmp_path / "cub")


def planned(*arguments):
    words = [word for word in arguments if not word.startswith("-")]
    single = [word.split(",")[0] for word in words]
    parsed = OverridesParser.create().parse_overrides(words)
    return sweeps.parse_sweep("train", list(arguments), parsed, compose_with_hydra("train", single), debug=False)


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_single_run_is_no_sweep():
    assert planned("seed=1") is None


def test_the_same_command_has_the_same_folder():
    folder = planned("-m", "seed=0,1", "method=spg_plain").folder
    assert folder == planned("method=spg_plain", "--multirun", "seed=0,1").folder
    assert folder == planned("-m", "seed=0,1,2", "method=spg_plain").folder, "more seeds go on where fewer ended"
    assert folder == planned("-m", "seed=0,1", "method=spg_plain", "launcher=submitit_local").folder
    assert folder == planned("-m", "seed=0,1", "method=spg_plain", "resume=auto").folder
    assert folder != planned("-m", "seed=0,1", "method=cam").folder
    assert planned("-m", "seed=0,1").folder == Path("runs/sweeps/seed")


def test_the_number_of_jobs_and_the_keys_that_multiply_it():
    assert planned("-m", "seed=0,1,2", "trainer.devices=[0],[1]").size == "6 jobs: seed (3) x trainer.devices (2)"
    assert planned("+sweep=seeds", "seed=0,1", "stem=vgg16").size == "2 jobs: seed (2)"
    assert planned("+sweep=optuna").size == ""


def test_a_preset_names_its_folder():
    assert planned("+sweep=ablations").folder == Path("runs/sweeps/ablations"), "without -m"
    assert planned("+sweep=ablations", "seed=7").folder == Path("runs/sweeps/ablations")
    assert planned("+sweep=seeds", "method=spg,cam").folder == Path("runs/sweeps/seeds-method")


def test_torchrun_does_not_start_sweeps(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="without torchrun"):
        planned("-m", "seed=0,1")


# --- finished or not --------------------------------------------------------------------------------------------------


def test_only_a_finished_run_of_the_same_config_counts(tiny_run, tmp_path):
    result, data = tiny_run
    folder = tmp_path / "moved"
    shutil.copytree(result.output_dir, folder)
    told = [*TINY, f"dataset.root={data}", "trainer.max_epochs=1", "logger=csv", f"output_dir={folder}"]
    assert jobs.is_complete(RunDir(folder), compose("train", told))
    assert jobs.is_complete(RunDir(folder), compose("train", [*told, "resume=auto"]))
    with pytest.raises(UserError, match=r"moved holds a finished run of another config \(.*seed=0 there, 5 here\)"):
        jobs.is_complete(RunDir(folder), compose("train", [*told, "seed=5"]))
    (folder / "provenance.json").unlink()
    assert not jobs.is_complete(RunDir(folder), compose("train", [*told, "seed=5"]))


def test_the_objective_is_a_number_of_metrics_json(tiny_run):
    result, _ = tiny_run
    cfg = compose("train", ["output_dir=x"])
    assert jobs.objective_of(RunDir(result.output_dir), cfg) == result.metrics["val/gt_known_error"]
    cfg.objective = "val/gt_known_eror"
    with pytest.raises(UserError, match="Did you mean 'val/gt_known_error'"):
        jobs.objective_of(RunDir(result.output_dir), cfg)


# --- jobs, pretended --------------------------------------------------------------------------------------------------


def no_seed_1(cfg):
    if cfg.seed == 1:
        raise UserError("seed 1 is unlucky")
    return 50.0 + cfg.seed


def test_a_failed_job_is_named_and_the_others_run(cli, pretend):
    ran = pretend(no_seed_1)
    outcome = cli("train", "-m", "seed=0,1,2")
    assert outcome.code == 1
    assert [cfg.seed for cfg in ran] == [0, 1, 2]
    assert "2 trained, 0 finished before, 1 failed" in outcome.err
    assert outcome.err.endswith("  seed-1: seed 1 is unlucky\n")
    with Path("runs/sweeps/seed/sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["status"], row["objective"]) for row in rows] == [
        ("seed-0", "trained", "50.0"), ("seed-1", "failed", ""), ("seed-2", "trained", "52.0"),
    ]  # fmt: skip

    ran.clear()
    pretend(lambda cfg: 0.0)
    again = cli("train", "seed=0,1,2,3", "-m")
    assert again.code == 0
    assert "seed-0: finished before, skipped" in again.err


def test_a_job_is_a_line_without_the_overrides_that_all_share(cli, pretend):
    pretend(lambda cfg: 0.0)
    outcome = cli("train", "-m", "seed=0,1", "trainer.max_epochs=3")
    assert outcome.code == 0
    assert "max_epochs" not in outcome.out + outcome.err
    lines = outcome.err.splitlines()
    assert lines[:3] == ["sweep of 2 jobs: seed (2)", "seed-0: started", "seed-1: started"]


def test_the_launchers_own_lists_of_overrides_are_off():
    joblib = pytest.importorskip(
        "hydra_plugins.hydra_joblib_launcher._core", reason="the extra `sweeps` is not installed"
    )
    loggers = compose_with_hydra("train", ["launcher=joblib"]).hydra.hydra_logging.loggers
    assert loggers[joblib.__name__].level == loggers[basic_launcher.__name__].level == "WARNING"


def test_the_output_of_jobs_that_share_a_terminal_goes_to_logs(tmp_path):
    sweep = sweeps.Sweep("train", tmp_path, [], False, "", is_search=False, best=None)
    jobs._run(sweep, ["--help"], tmp_path, tmp_path / "0.error", tmp_path / "0.log", {})
    assert "Usage: spg-train" in (tmp_path / "0.log").read_text()


def test_a_sweep_of_one_run_leaves_its_folder_to_it(cli, pretend, tmp_path):
    """With nothing swept the only job's folder is the sweep's, and the job locks it."""
    locks = []

    def look(cfg):
        locks.append(sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob(".lock")))
        return 50.0

    pretend(look)
    outcome = cli("train", "-m", "seed=0", f"output_dir={tmp_path / 'sweep'}")
    assert outcome.code == 0, outcome.err
    assert locks == [["sweep/.jobs/.lock"]]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_ends_a_sweep_with_a_line(cli, pretend, tmp_path, name):
    previous = signal.signal(getattr(signal, name), signal.SIG_DFL)  # nohup ignores SIGHUP

    def stop(cfg):
        if cfg.seed == 1:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(5)
        return 50.0

    pretend(stop)
    try:
        outcome = cli("train", "-m", "seed=0,1,2", f"output_dir={tmp_path / 'sweep'}")
    finally:
        signal.signal(getattr(signal, name), previous)
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1].startswith("sweep stopped by hand after 1 trained")


def test_nothing_of_another_run_is_overwritten(cli, pretend, tmp_path):
    pretend(lambda cfg: 0.0)
    there = f"output_dir={tmp_path / 'mine'}"
    assert cli("train", "-m", "seed=0,1", there).code == 0
    before = (tmp_path / "mine/seed-0/config.yaml").read_text()
    outcome = cli("train", "-m", "seed=0,1", there, "method=cam")
    assert outcome.code == 1
    assert "0 trained, 0 finished before, 2 failed" in outcome.err
    assert "method.name=spg there, cam here" in outcome.err
    assert (tmp_path / "mine/seed-0/config.yaml").read_text() == before


def test_the_ablations_are_the_papers_five_rows(cli, pretend):
    ran = pretend(lambda cfg: 0.0)
    assert cli("train", "+sweep=ablations", "seed=0").code == 0
    rows = {
        (cfg.method.name, cfg.guidance._target_.rsplit(".", 1)[1], cfg.shared_weights.enabled, "c" in cfg.fuse.branches)
        for cfg in ran
        if cfg.method.name == "spg"
    }
    assert rows == {
        ("spg", "cascade", True, True), ("spg", "direct", True, True), ("spg", "cascade", False, True),
        ("spg", "cascade", True, False),
    }  # fmt: skip
    assert sum(cfg.method.name == "spg_plain" for cfg in ran) == 1
    assert len(ran) == 5
    assert (Path("runs/sweeps/ablations") / "ablation-no_c__seed-0").is_dir()
    assert compose_with_hydra("train", ["+sweep=ablations"]).hydra.sweeper.params.seed == "0,1,2"


def test_the_grid_of_thresholds_is_legal(cli, pretend):
    ran = pretend(lambda cfg: 0.0)
    assert cli("train", "+sweep=thresholds").code == 0
    pairs = {(cfg.thresholds.b2.high, cfg.thresholds.b2.low) for cfg in ran}
    assert len(pairs) == len(ran) == 9
    assert (0.7, 0.1) in pairs
    assert all(low < high for high, low in pairs)


def test_a_sweep_keeps_the_checkpoints_of_its_best_job_alone(cli, pretend, tmp_path):
    """The best of all that are finished; a failed job keeps what it has."""

    def save(cfg):
        run_dir = RunDir(Path(cfg.output_dir))
        run_dir.checkpoints.mkdir()
        run_dir.last.touch()
        if cfg.seed == 2:
            raise UserError("seed 2 is unlucky")
        return [52.0, 51.0, 0.0, 50.0][cfg.seed]

    def kept():
        return sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("last.ckpt"))

    pretend(save)
    command = ("train", "-m", f"output_dir={tmp_path}", "keep_checkpoints=best_of_sweep")
    assert "checkpoints kept: " in cli(*command, "seed=0,1,2").err
    assert kept() == ["seed-1/checkpoints/last.ckpt", "seed-2/checkpoints/last.ckpt"]
    cli(*command, "seed=0,1,3")
    assert kept() == ["seed-2/checkpoints/last.ckpt", "seed-3/checkpoints/last.ckpt"]


# --- jobs, real -------------------------------------------------------------------------------------------------------


def command(*arguments):
    return [sys.executable, "-m", "spg_lightning.train", *SMALL, *arguments]


def times_of(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def test_an_interrupted_sweep_continues(cub, tmp_path):
    sweep = command("-m", "seed=0,1,2,3", f"dataset.root={cub}", f"output_dir={tmp_path / 'sweep'}")
    with (tmp_path / "err").open("w") as err:
        # a shell's background job ignores SIGINT, and so would its children
        process = subprocess.Popen(
            sweep, stdout=subprocess.DEVNULL, stderr=err,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        while not (tmp_path / "sweep/seed-1/config.yaml").exists():
            assert process.poll() is None, (tmp_path / "err").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    lines = (tmp_path / "err").read_text().splitlines()
    assert "Traceback" not in "".join(lines)
    assert lines[-1].startswith("sweep stopped by hand after 1 trained")
    assert lines[-1].endswith(f"the same command continues in {tmp_path / 'sweep'}")
    assert not (tmp_path / "sweep/seed-1/provenance.json").exists()
    assert not (tmp_path / "sweep/seed-2").exists()

    before = times_of(tmp_path / "sweep/seed-0")
    again = subprocess.run(sweep, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "3 trained, 1 finished before, 0 failed" in again.stderr
    assert times_of(tmp_path / "sweep/seed-0") == before
    for seed in range(4):
        facts = json.loads((tmp_path / f"sweep/seed-{seed}/provenance.json").read_text())
        assert facts["seed"] == seed


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_run_the_jobs_elsewhere(cub, tmp_path, launcher):
    pytest.importorskip(
        f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher", reason="the extra `sweeps` is not installed"
    )
    arguments = (f"dataset.root={cub}", f"launcher={launcher}", f"output_dir={tmp_path / 'sweep'}")
    done = subprocess.run(
        command("-m", "thresholds.b1.high=0.5,0.01", *arguments), capture_output=True, text=True, check=False,
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 trained, 0 finished before, 1 failed" in done.stderr
    assert "  thresholds.b1.high-0.01: thresholds.b1: low=0.05 and high=0.01" in done.stderr


@pytest.mark.slow
def test_a_real_failed_job_leaves_its_line(cub, tmp_path):
    """The mistake is met in the job's own process, after the sweep's own look at the overrides."""
    done = subprocess.run(
        command("-m", "dataset.batch_size=500,4", f"dataset.root={cub}", f"output_dir={tmp_path / 'sweep'}"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 trained, 0 finished before, 1 failed" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "  dataset.batch_size-500: dataset.batch_size=500 is more than the 9"
    )
