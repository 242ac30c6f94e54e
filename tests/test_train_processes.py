"""Several processes train as one does: the same batches, the same gradients, every image counted once, one to write."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from spg_lightning import UserError, build_network, compose, train
from spg_lightning.callbacks.resumable_checkpoint import ResumableCheckpoint
from spg_lightning.config.build import build_data
from spg_lightning.data.images import ImageDataset
from spg_lightning.data.samplers import collate_nonempty
from spg_lightning.utils.run_dir import RunDir
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
    with pytest.raises(UserError, match="in one process's share of a batch are corrupt"):
        collate_nonempty([None, None])


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
        assert sweep.stderr.count(f" -> {folder}\n") == 1
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
    assert not re.search("available: |Tip: |estimate number", ended.stderr)  # Lightning's


def test_more_processes_than_photos_to_evaluate(cub, monkeypatch, tmp_path):
    data = build_data(compose("train", [*ALIKE, f"dataset.root={cub}", f"output_dir={tmp_path}"]))
    data.setup()
    monkeypatch.setattr(data, "_processes", lambda: (0, 13))
    with pytest.raises(UserError, match="13 processes for 12 test images"):
        data.test_dataloader()


def test_processes_that_would_go_on_from_different_steps(monkeypatch, tmp_path):
    """As where each machine has a folder of its own: they would wait for each other."""

    def gather(found, own):
        found[:] = [6, own]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    checkpointer = ResumableCheckpoint(RunDir(tmp_path), 1, None, StopSignals(), num_train_images=9)
    trainer = SimpleNamespace(world_size=2)
    with pytest.raises(UserError, match=r"different steps .*\(process 0 6, process 1 none\).* all machines share"):
        checkpointer.setup(trainer, None, "fit")
    monkeypatch.setattr(
        torch.distributed, "all_gather_object", lambda found, own: found.__setitem__(slice(None), [own] * 2)
    )
    checkpointer.setup(trainer, None, "fit")


@pytest.mark.slow
def test_accumulated_gradients_where_a_method_leaves_parameters_unused(cub, tmp_path):
    """SPG-plain never reads the features for SPG's branches, whose norms have parameters in this stem.

    Batch norm has each process's own statistics, so that a single process gives other numbers. But the updates have to move the
    weights, and one update of the sum of two batches is not two updates of one batch each.
    """
    words = [*TINY, *TWO, "method=spg_plain", f"dataset.root={cub}", "dataset.batch_size=2", "report_images=0",
             "gallery_images=0", "trainer.max_epochs=1", "logger=csv"]  # fmt: skip
    weights = {}
    for accumulate in (1, 2):
        folder = tmp_path / f"{accumulate}"
        ended = call(*words, f"output_dir={folder}", f"+trainer.accumulate_grad_batches={accumulate}")
        assert ended.returncode == 0, ended.stderr
        facts = json.loads((folder / "provenance.json").read_text())
        batches = facts["photos"]["train"] // 2
        assert facts["steps"] == -(-batches // accumulate)
        weights[accumulate] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    cfg = compose("train", [*words, "output_dir=unused"])
    pl.seed_everything(cfg.seed, verbose=False)
    initial = build_network(cfg, 3).state_dict()
    final = weights[2]["network.a4.weight"]
    assert not torch.equal(final, initial["a4.weight"])
    assert not torch.equal(final, weights[1]["network.a4.weight"])


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
        "+callbacks.lost._target_=tests.test_train_processes.Lost",
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


@pytest.mark.slow
def test_one_two_and_three_processes_count_every_image_once(tmp_path):
    """19 test images: neither 2 nor 3 divides them."""
    cub = write_cub(tmp_path / "cub", classes=2, per_class=38)
    keep = (cub / "train_test_split.txt").read_text().splitlines()
    # every other photo is a test image: 19 a class; the second class's go to the training
    keep = [f"{line.split()[0]} 1" if number >= 38 and number % 38 else line for number, line in enumerate(keep)]
    (cub / "train_test_split.txt").write_text("\n".join(keep) + "\n")
    texts = {}
    for processes in (1, 2, 3):
        folder = tmp_path / f"{processes}"
        ddp = ("trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={processes}") if processes > 1 else ()
        done = call(
            *ALIKE, *ddp, f"dataset.root={cub}", "trainer.max_epochs=1", "dataset.batch_size=6", "dataset.lr=0",
            "data.eval_batch_size=2", f"output_dir={folder}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        texts[processes] = (
            (folder / "metrics.json").read_text(),
            sorted(row.split(",")[0] for row in (folder / "images.csv").read_text().splitlines()),
        )
    assert texts[1] == texts[2] == texts[3]
    assert len(set(texts[1][1])) == len(texts[1][1])


def test_two_processes_share_the_seeds_and_train_as_one(cub, tmp_path):
    """Each computes its part of the training-free maps, and the first one writes the second round."""
    seeded = (
        *ALIKE, "guidance=seeded", "seeds.rounds=[0.5]", "seeds.round_name=b1", "training_free.image_side=64",
        "training_free.side=16", "training_free.refine.side=32", "refine=pamr", "score_map.name=[b1,c]", "stem.pretrained.weights=imagenet",
        "stem.pretrained.model=tf_efficientnet_lite0", "stem.pretrained.mean=[0.5,0.5,0.5]", "stem.pretrained.std=[0.5,0.5,0.5]",
        f"dataset.root={cub}",
    )  # fmt: skip
    maps = {}
    for name, more in {"one": (), "two": TWO}.items():
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SPG_LIGHTNING_CACHE": str(tmp_path / f"cache-{name}")}
        done = subprocess.run(
            [sys.executable, "-m", "spg_lightning.train", *seeded, *more, f"output_dir={tmp_path / name}"],
            env=environment, capture_output=True, text=True, timeout=580, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        files = sorted((tmp_path / f"cache-{name}").rglob("*.npy"))
        maps[name] = {file.name: np.load(file).astype(int) for file in files}
    assert maps["one"].keys() == maps["two"].keys()
    assert len(maps["one"]) == len(list((cub / "images").rglob("*.jpg")))
    assert (
        max(np.abs(maps["one"][name] - maps["two"][name]).max() for name in maps["one"]) <= 1
    )  # batches of other images
    metrics, numbers = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("two", "one"))
    assert metrics.keys() == numbers.keys()
    assert "test/floor_training_free_gt_known_error" in numbers
