"""Several processes train as one does: the same batches, the same gradients, every image counted once, one to write."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from spg_lightning import UserError, compose, train
from spg_lightning.callbacks.resumable_checkpoint import ResumableCheckpoint
from spg_lightning.config.build import build_data, build_trainer, num_workers_of, precision_of
from spg_lightning.data.photos import ImageDataset
from spg_lightning.datamodule import ProcessSampler, SeededSampler, collate_nonempty
from spg_lightning.utils.distributed import is_global_zero, is_restart
from spg_lightning.utils.signals import StopSignals
from tests.conftest import TINY
from tests.trees import write_cub

# VGG16 has no batch norm, whose statistics are each process's own, and no dropout. In float64: in float32 sums of another order
# differ in the eighth digit, and a pixel that lies so near to a threshold then falls on the other side of a mask
ALIKE = (
    *TINY, "trainer.precision=64-true", "stem=vgg16", "dataset.resize=36", "dataset.crop=32", "trainer.max_epochs=2", "gallery_images=0",
)  # fmt: skip
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def call(*arguments, module="spg_lightning.train", **options):
    """Run a module in a process of its own, one thread each."""
    return subprocess.run(
        [sys.executable, "-m", *module.split(), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=580, check=False, **options,
    )  # fmt: skip


def assert_same_run(folder, reference):
    """Weights agree to the rounding of float64 sums; so do the score maps, and no box here lies that near to a limit."""
    weights, expected = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (folder, reference)
    )
    assert max(float((weights[name] - expected[name]).abs().max()) for name in expected) < 1e-12
    metrics, numbers = (json.loads((run / "metrics.json").read_text()) for run in (folder, reference))
    assert metrics == pytest.approx(numbers, abs=1e-6)
    assert metrics["test/num_images"] == 12


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("processes") / "cub")


@pytest.fixture(scope="module")
def alone(cub):
    """What one process makes of seeds 0 and 1."""
    folders = [cub.parent / f"seed-{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        train(compose("train", [*ALIKE, f"dataset.root={cub}", f"seed={seed}", f"output_dir={folder}"]))
    return folders


def test_two_processes_share_the_batches_of_one():
    def dealt(rank, processes):
        sampler = SeededSampler(ProcessSampler(23, rank, processes, shuffle_seed=5), 5)
        sampler.set_epoch(3)
        return list(sampler)

    whole, shares = dealt(0, 1), [dealt(0, 2), dealt(1, 2)]
    for step in range(23 // 4):
        batch = whole[4 * step : 4 * step + 4]
        assert sorted(batch) == sorted(shares[0][2 * step : 2 * step + 2] + shares[1][2 * step : 2 * step + 2])


def test_a_seed_beside_the_index_decides_crop_and_flip(cub):
    from spg_lightning.data import read_cub
    from spg_lightning.data.transforms import train_transform

    photos = ImageDataset(read_cub(cub).train, train_transform(72, 32), "error", with_masks=False)
    views = [photos[2, seed]["image"] for seed in (7, 8, 7)]
    assert torch.equal(views[0], views[2])
    assert not torch.equal(views[0], views[1])


def test_batches_that_cannot_be_shared_are_refused(cub, monkeypatch, tmp_path):
    data = build_data(
        compose("train", [*ALIKE, f"dataset.root={cub}", "dataset.batch_size=3", f"output_dir={tmp_path}"])
    )
    data.setup()
    monkeypatch.setattr(data, "_processes", lambda: (0, 2))
    with pytest.raises(UserError, match="choose a multiple of 2"):
        data.train_dataloader()
    with pytest.raises(UserError, match="broken photos alone"):
        collate_nonempty([None, None])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((*TWO, "trainer.sync_batchnorm=true"), "sync_batchnorm"),
        (("trainer.accelerator=nothing",), "trainer: "),
    ],
)
def test_trainers_that_cannot_be(tmp_path, overrides, said):
    cfg = compose("train", [*(o for o in TINY if "accelerator" not in o), *overrides, f"output_dir={tmp_path}"])
    with pytest.raises(UserError, match=said):
        build_trainer(cfg, [])


@pytest.mark.parametrize(
    ("overrides", "gpu", "of_gpu", "of_cpu", "precision"),
    [
        (("trainer=ddp",), True, True, {}, "bf16-mixed"),
        (("trainer=gpu",), True, False, {"amx_bf16": True}, "32-true"),
        (("trainer=ddp", "trainer.accelerator=cpu"), True, True, {"avx512_f": True}, "32-true"),
        (("trainer=ddp", "trainer.accelerator=cpu"), True, False, {"avx512_bf16": True}, "bf16-mixed"),
        (("trainer=ddp",), False, True, {"avx512_bf16": False}, "32-true"),
        (("trainer=cpu",), True, False, {"amx_bf16": True}, "bf16-mixed"),
        (("trainer=cpu",), False, False, {"bf16": True}, "bf16-mixed"),
        (("trainer=cpu",), True, True, {}, "32-true"),
        (("trainer=cpu", "trainer.accelerator=mps"), False, False, {"bf16": True}, "32-true"),
        (("trainer=gpu", "trainer.precision=16-mixed"), True, True, {}, "16-mixed"),
        (("trainer=default",), True, True, {"amx_bf16": True}, "32-true"),
    ],
)
def test_the_presets_choose_the_precision(monkeypatch, overrides, gpu, of_gpu, of_cpu, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: of_gpu)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: of_cpu)
    assert precision_of(compose("train", [*overrides, "output_dir=x"]).trainer) == precision


@pytest.mark.parametrize(
    ("overrides", "gpus", "workers"),
    [
        (("trainer=gpu",), 1, 12),
        (("trainer=ddp",), 4, 3),
        (("trainer=ddp", "trainer.devices=2"), 4, 6),
        (("trainer=ddp", "trainer.devices=[1,3,5]"), 8, 4),
        (("trainer=ddp",), 24, 1),
        (("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"), 4, 1),
        (("trainer=default",), 0, 1),
        (("trainer=gpu", "data.num_workers=5"), 1, 5),
    ],
)
def test_the_cores_are_shared_by_the_processes_of_the_gpus(monkeypatch, overrides, gpus, workers):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    assert num_workers_of(compose("train", [*overrides, "output_dir=x"])) == workers


@pytest.mark.parametrize(("of_cpu", "warned"), [({"avx512_bf16": True}, 0), ({"avx512_f": True}, 1)])
def test_emulated_bfloat16_is_warned_of(tmp_path, monkeypatch, caplog, of_cpu, warned):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: of_cpu)
    build_trainer(compose("train", [*TINY, "trainer.precision=bf16-mixed", f"output_dir={tmp_path}"]), [])
    assert caplog.text.count("no instructions for bfloat16") == warned


def test_torchrun_and_the_trainer_have_to_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="torchrun started 3 processes, the config has 1"):
        build_trainer(compose("train", [*TINY, f"output_dir={tmp_path}"]), [])


@pytest.mark.slow
def test_a_sweep_of_jobs_of_two_processes(cub, alone, tmp_path):
    sweep = call("-m", "seed=0,1", *ALIKE, *TWO, f"dataset.root={cub}", f"output_dir={tmp_path}")
    assert sweep.returncode == 0, sweep.stderr
    assert "2 trained, 0 finished before, 0 failed" in sweep.stderr
    for seed, reference in enumerate(alone):
        folder = tmp_path / f"seed-{seed}"
        assert_same_run(folder, reference)
        facts = json.loads((folder / "provenance.json").read_text())
        assert facts["processes"] == 2
        assert f"seed={seed}" in facts["command"]
        assert f"seed: {seed}\n" in (folder / "config.yaml").read_text()
        # trained once: told once, and logged at the same steps as in one process
        assert sweep.stderr.count(f"photos of 3 classes -> {folder}") == 1
        steps, expected = (
            np.genfromtxt(run / "metrics.csv", delimiter=",", names=True)["step"].tolist()
            for run in (folder, reference)
        )
        assert steps == expected
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        ".jobs",
        "multirun.yaml",
        "seed-0",
        "seed-1",
        "sweep.csv",
    ]


def test_accumulated_gradients_of_two_processes(cub, tmp_path):
    """The static graph, which torch cannot combine with them, is left out by itself."""
    plain = (*ALIKE, "method=spg_plain", f"dataset.root={cub}", "report_images=0")
    train(compose("train", [*plain, "dataset.batch_size=4", f"output_dir={tmp_path / 'one'}"]))
    ended = call(
        *plain, *TWO, "dataset.batch_size=2", "+trainer.accumulate_grad_batches=2", f"output_dir={tmp_path / 'two'}"
    )
    assert ended.returncode == 0, ended.stderr
    assert_same_run(tmp_path / "two", tmp_path / "one")


@pytest.mark.parametrize(
    ("told", "main"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),  # started by hand on a further machine
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),  # the same, once Lightning has started the others there
        ({"NODE_RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),  # started by Lightning inside a Slurm job
        ({"SLURM_PROCID": "0"}, True),
    ],
)
def test_who_is_the_main_process(monkeypatch, told, main):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert is_global_zero() == main


@pytest.mark.parametrize("name", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_a_run_that_was_started_again(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    assert not is_restart()
    monkeypatch.setenv(name, "0")
    assert not is_restart()
    monkeypatch.setenv(name, "1")
    assert is_restart()


def test_more_processes_than_photos_to_evaluate(cub, monkeypatch, tmp_path):
    data = build_data(compose("train", [*ALIKE, f"dataset.root={cub}", f"output_dir={tmp_path}"]))
    data.setup()
    monkeypatch.setattr(data, "_processes", lambda: (0, 13))
    with pytest.raises(UserError, match="13 processes for 12 test photos"):
        data.test_dataloader()


def test_processes_that_would_go_on_from_different_steps(monkeypatch, tmp_path):
    """As where each machine has a folder of its own: they would wait for each other."""

    def gather(found, own):
        found[:] = [6, own]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    keeper = ResumableCheckpoint(tmp_path, 1, None, StopSignals())
    trainer = SimpleNamespace(world_size=2)
    with pytest.raises(UserError, match=r"different steps .*\(process 0 6, process 1 none\).* all machines share"):
        keeper.setup(trainer, None, "fit")
    monkeypatch.setattr(
        torch.distributed, "all_gather_object", lambda found, own: found.__setitem__(slice(None), [own] * 2)
    )
    keeper.setup(trainer, None, "fit")


@pytest.mark.slow
def test_accumulated_gradients_where_a_method_leaves_parameters_unused(cub, tmp_path):
    """SPG-plain never reads the taps of SPG's branches, whose norms have parameters in this stem."""
    ended = call(
        *TINY, *TWO, "method=spg_plain", f"dataset.root={cub}", "dataset.batch_size=2", f"output_dir={tmp_path}",
        "+trainer.accumulate_grad_batches=2", "report_images=0", "gallery_images=0",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_torchrun(cub, alone, tmp_path):
    arguments = ("--nproc-per-node", "2", "-m", "spg_lightning.train", *ALIKE, *TWO, f"dataset.root={cub}")
    run = call(*arguments, f"output_dir={tmp_path}", module="torch.distributed.run")
    assert run.returncode == 0, run.stderr
    assert_same_run(tmp_path, alone[0])


@pytest.mark.slow
def test_a_mistake_that_one_process_meets_ends_the_run_with_its_line(tmp_path):
    """A broken photo is in the share of one process; the other waits for it, and is ended."""
    cub = write_cub(tmp_path / "cub")
    photo = cub / "images/001.Class_0/Photo_3.jpg"
    photo.write_bytes(photo.read_bytes()[:-300])
    run = call(*ALIKE, *TWO, f"dataset.root={cub}", "data.on_corrupt_image=error", f"output_dir={tmp_path / 'run'}")
    assert run.returncode != 0
    assert run.stderr.count("error: ") == 1, run.stderr
    assert "Photo_3.jpg is broken" in run.stderr
    assert "Traceback" not in run.stderr


class Lost(pl.Callback):
    """Ends one process of a training at a step: by an error, or without a word."""

    def __init__(self, rank, how):
        self.rank, self.how = rank, how

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_rank == self.rank and trainer.global_step == 2:
            if self.how == "error":
                raise RuntimeError("the third photo bit me")
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["", "torch.distributed.run --nproc-per-node 2 -m"], ids=["lightning", "torchrun"])
@pytest.mark.parametrize(("rank", "how"), [(1, "error"), (0, "error"), (1, "killed"), (0, "killed")])
def test_a_process_that_dies_ends_the_job_within_a_minute(cub, tmp_path, rank, how, launcher):
    lost = (
        "+callbacks.lost._target_=tests.utils.test_distributed.Lost",
        f"+callbacks.lost.rank={rank}",
        f"+callbacks.lost.how={how}",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", *launcher.split(), "spg_lightning.train", *ALIKE, *TWO, *lost, f"dataset.root={cub}", f"output_dir={tmp_path}",
         "trainer.max_epochs=50", "checkpoint_every_steps=1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    while not (tmp_path / "checkpoints/resume.ckpt").exists():  # of step 1: one more to live
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    began = time.monotonic()
    _, err = process.communicate(timeout=300)  # until the last process that holds the pipe has ended
    assert time.monotonic() - began < 60
    assert process.returncode != 0
    if how == "error":
        assert "the third photo bit me" in err
    else:
        assert "Traceback" in err, "of the process that lost the other"
