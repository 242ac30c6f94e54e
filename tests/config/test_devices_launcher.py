"""launcher=devices: each job of a sweep has devices of its own; failed, killed and interrupted ones are tried again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException

from spg_lightning import UserError
from spg_lightning.utils.output_dir_lock import NAME
from tests.conftest import TINY
from tests.trees import write_cub

DEVICES = ("launcher=devices", "hydra.launcher.devices=[0,GPU-1,MIG-2,3]")  # pretended


def held(cfg):
    """Note which devices a job sees, and when."""
    start = time.monotonic()
    time.sleep(0.5)
    note = {"gpus": os.environ["CUDA_VISIBLE_DEVICES"], "start": start, "end": time.monotonic()}
    (Path(cfg.output_dir) / "held.json").write_text(json.dumps(note))
    return 50.0


def notes_in(folder):
    return [json.loads(file.read_text()) for file in folder.rglob("held.json")]


def test_eight_jobs_share_four_devices(cli, pretend, tmp_path):
    pretend(held)
    outcome = cli("train", "-m", "seed=0,1,2,3,4,5,6,7", *DEVICES, f"output_dir={tmp_path}")
    assert outcome.code == 0, outcome.err
    assert "8 trained, 0 finished before, 0 failed" in outcome.err
    notes = notes_in(tmp_path)
    assert len(notes) == 8
    assert set(Counter(note["gpus"] for note in notes)) == {"0", "GPU-1", "MIG-2", "3"}
    for gpu in ("0", "GPU-1", "MIG-2", "3"):
        spans = sorted((note["start"], note["end"]) for note in notes if note["gpus"] == gpu)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans)), "one job at a time"


def test_a_job_of_two_processes_has_two_devices(cli, pretend, tmp_path):
    pretend(held)
    outcome = cli("train", "-m", "seed=0,1,2", *DEVICES, "trainer=ddp", "trainer.devices=2", f"output_dir={tmp_path}")
    assert outcome.code == 0, outcome.err
    assert {note["gpus"] for note in notes_in(tmp_path)} == {"0,GPU-1", "MIG-2,3"}


def test_a_number_of_devices_is_needed(cli, pretend):
    pretend(held)
    outcome = cli("train", "-m", "seed=0,1", *DEVICES, "trainer=ddp")
    assert outcome.code == 1
    assert outcome.line == "error: launcher=devices: a job needs a number of devices, as in trainer.devices=2, not auto"


def test_failed_and_killed_jobs_are_named_with_their_logs(cli, pretend, tmp_path):
    def unlucky(cfg):
        print("seed", cfg.seed, flush=True)
        if cfg.seed == 1:
            raise UserError("out of memory")
        if cfg.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return 50.0

    pretend(unlucky)
    command = (
        "train",
        "-m",
        "seed=0,1,2,3",
        "launcher=devices",
        "hydra.launcher.devices=[0]",
        f"output_dir={tmp_path}",
    )
    outcome = cli(*command)
    assert outcome.code == 1
    assert "seed-1: failed (out of memory); the sweep continues [2 of 4; " in outcome.err
    assert "2 trained, 0 finished before, 2 failed" in outcome.err
    assert outcome.err.splitlines()[-2:] == [
        f"  seed-1: out of memory; log: {tmp_path}/.jobs/1.log",
        f"  seed-2: killed by SIGKILL; log: {tmp_path}/.jobs/2.log",
    ]
    assert (tmp_path / ".jobs/2.log").read_text() == "seed-2: started\nseed 2\n"

    pretend(lambda cfg: 50.0)
    assert "2 trained, 2 finished before, 0 failed" in cli(*command).err


def test_ctrl_c_ends_the_jobs_and_the_same_command_continues(cli, pretend, tmp_path):
    def interrupted(cfg):
        if cfg.seed == 0:
            return 50.0
        (tmp_path / f"{cfg.seed}.started").touch()
        try:
            if cfg.seed == 4:  # the last one to start
                while len(list(tmp_path.glob("*.started"))) < 4:
                    time.sleep(0.05)
                os.kill(os.getppid(), signal.SIGINT)
            time.sleep(60)
        except KeyboardInterrupt:
            (tmp_path / f"{cfg.seed}.stopped").touch()
            raise
        return 50.0

    pretend(interrupted)
    command = ("train", "-m", "seed=0,1,2,3,4,5", *DEVICES, f"output_dir={tmp_path / 'sweep'}")
    outcome = cli(*command)
    assert outcome.code == 130, outcome.err
    assert "Traceback" not in outcome.err
    assert "error:" not in outcome.err
    assert "stopping 4 jobs" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("sweep stopped by hand after 1 trained")
    assert sorted(file.stem for file in tmp_path.glob("*.stopped")) == ["1", "2", "3", "4"]

    pretend(lambda cfg: 50.0)
    assert "5 trained, 1 finished before, 0 failed" in cli(*command).err


def test_optuna_proposes_trials_for_all_devices(cli, pretend, tmp_path):
    pytest.importorskip("optuna", reason="the extra `sweeps` is not installed")
    pretend(held)
    search = ("+sweep=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2")
    outcome = cli("train", *search, *DEVICES, f"output_dir={tmp_path}")
    assert outcome.code == 0, outcome.err
    assert "4 trained" in outcome.err
    assert Counter(note["gpus"] for note in notes_in(tmp_path)) == {"0": 2, "GPU-1": 2}
    assert "best_value: 50.0" in (tmp_path / "optimization_results.yaml").read_text()


@pytest.mark.slow
def test_killed_and_interrupted_jobs_end_as_those_of_a_plain_sweep(tmp_path):
    cub = write_cub(tmp_path / "cub")
    small = ("dataset.resize=36", "dataset.crop=32", "trainer.max_epochs=2", "gallery_images=0", "report_images=0")
    command = [sys.executable, "-m", "spg_lightning.train", "-m", "seed=0,1,2", *TINY, *small, f"dataset.root={cub}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    shares = [*command, "launcher=devices", "hydra.launcher.devices=2", f"output_dir={tmp_path / 'shares'}"]

    def wait_for(file, process):
        while not file.exists():
            assert process.poll() is None, (tmp_path / "err").read_text()
            time.sleep(0.05)

    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            shares, stderr=err, env=env, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        )
        first = tmp_path / "shares/seed-0"
        wait_for(first / "config.yaml", process)
        os.kill(int((first / NAME).read_text().split()[1]), signal.SIGKILL)  # "process <id> on <machine>"
        wait_for(tmp_path / "shares/seed-2/config.yaml", process)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    lines = (tmp_path / "err").read_text()
    assert "seed-0: failed (killed by SIGKILL); the sweep continues" in lines
    assert "Traceback" not in lines

    for again in (shares, [*command, f"output_dir={tmp_path / 'plain'}"]):
        done = subprocess.run(again, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0, done.stderr
    for seed in range(3):
        for name in ("metrics.json", "curves.csv", "images.csv"):
            ours, plain = (tmp_path / f"{sweep}/seed-{seed}/{name}" for sweep in ("shares", "plain"))
            assert ours.read_text() == plain.read_text(), (seed, name)


def test_an_interruption_while_a_job_is_composed_is_none_of_the_errors(cli, pretend, tmp_path, monkeypatch):
    """Hydra raises an error of its own then."""

    def compose(*args, **kwargs):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt as interruption:
            raise ConfigCompositionException from interruption

    pretend(lambda cfg: 50.0)
    monkeypatch.setattr("hydra._internal.config_loader_impl.ConfigLoaderImpl.load_sweep_config", compose)
    outcome = cli("train", "-m", "seed=0,1", *DEVICES, f"output_dir={tmp_path / 'sweep'}")
    assert outcome.code == 130, outcome.err
    assert "error:" not in outcome.err
    assert outcome.err.splitlines()[-1].startswith("sweep stopped by hand after 0 trained")


def test_signals_that_the_shell_ignores_are_ignored(cli, pretend, tmp_path):
    """As under nohup."""
    pretend(lambda cfg: os.kill(os.getppid(), signal.SIGHUP) or 50.0)
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        outcome = cli("train", "-m", "seed=0,1", *DEVICES, f"output_dir={tmp_path / 'sweep'}")
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert outcome.code == 0, outcome.err
    assert "2 trained" in outcome.err
