"""Throughput: medians over the steps between two logged ones, on a clock of our own."""

import csv
from types import SimpleNamespace

import pytest
import torch

from spg_lightning.callbacks import throughput
from spg_lightning.callbacks.throughput import Throughput
from spg_lightning.utils import device as hardware

HELD = {"train/memory_gb": 3.5}


class Drive:
    """Steps through batches as the trainer does; the clock goes as it is told."""

    def __init__(self, monkeypatch, every, world_size=1):
        self.now, self.logged = 0.0, []
        monkeypatch.setattr(throughput, "perf_counter", lambda: self.now)
        monkeypatch.setattr(throughput, "peak_memory_gb", lambda device: 3.5)
        self.trainer = SimpleNamespace(log_every_n_steps=every, global_step=0, world_size=world_size)
        self.module = SimpleNamespace(
            device=torch.device("cpu"), log_dict=lambda values, batch_size: self.logged.append(values)
        )
        self.meter = Throughput()
        self.epoch()

    def epoch(self):
        self.meter.on_train_epoch_start(self.trainer, self.module)

    def step(self, wait, work, photos=4, optimizer_steps=1):
        batch = {"label": torch.zeros(photos)}
        self.now += wait
        self.meter.on_train_batch_start(self.trainer, self.module, batch, 0)
        self.now += work
        self.trainer.global_step += optimizer_steps
        self.meter.on_train_batch_end(self.trainer, self.module, None, batch, 0)


def test_medians_between_logged_steps(monkeypatch):
    drive = Drive(monkeypatch, every=4, world_size=2)
    for wait, work in ((9, 9), (1, 1), (2, 2), (60, 1), (0.5, 1.5), (0.5, 1.5), (1, 3), (0.5, 1.5)):
        drive.step(wait, work)
    first, second = drive.logged
    # the first step has no end before it: 2, 4 and 61 seconds; two processes of four photos
    assert first == {"train/images_per_second": 2.0, "train/step_seconds": 4, "train/data_wait_seconds": 2, **HELD}
    assert second == {"train/images_per_second": 4.0, "train/step_seconds": 2, "train/data_wait_seconds": 0.5, **HELD}


def test_what_lies_between_epochs_is_no_step(monkeypatch):
    drive = Drive(monkeypatch, every=2)
    drive.step(0, 1)
    drive.now += 1000
    drive.epoch()
    drive.step(5, 1)
    assert drive.logged == []
    drive.step(0, 1)
    drive.step(0, 1)
    assert drive.logged == [
        {"train/images_per_second": 4, "train/step_seconds": 1, "train/data_wait_seconds": 0, **HELD}
    ]


def test_accumulated_gradients_are_logged_once_a_step(monkeypatch):
    drive = Drive(monkeypatch, every=1)
    for k in range(8):
        drive.step(1, 1, optimizer_steps=k % 4 == 3)
    assert len(drive.logged) == 2


def test_nothing_is_logged_where_lightning_logs_nothing(monkeypatch):
    drive = Drive(monkeypatch, every=0)
    drive.step(1, 1)
    drive.step(1, 1)
    assert drive.logged == []


def test_a_batch_of_broken_photos_alone(monkeypatch):
    drive = Drive(monkeypatch, every=1)
    drive.step(1, 1)
    drive.now += 1
    drive.trainer.global_step += 1
    drive.meter.on_train_batch_end(drive.trainer, drive.module, None, None, 0)
    assert drive.logged == [
        {"train/images_per_second": 0, "train/step_seconds": 1, "train/data_wait_seconds": 0, **HELD}
    ]


def test_a_run_logs_losses_masks_rates_and_throughput(tiny_run):
    rows = list(csv.DictReader((tiny_run[0].output_dir / "metrics.csv").open()))
    steps = [row for row in rows if row["train/loss_total"]]
    assert len(steps) == 2
    for row in steps:
        parts = sum(float(row[f"train/loss_{name}"]) for name in ("cls", "b2", "b1", "c"))
        assert float(row["train/loss_total"]) == pytest.approx(parts, rel=1e-4)
        for name in ("b2", "b1", "c"):
            shares = [float(row[f"train/mask_{name}/{kind}"]) for kind in ("foreground", "background", "ignored")]
            assert all(0 <= share <= 1 for share in shares)
            assert sum(shares) == pytest.approx(1, abs=1e-5)
    last = steps[-1]
    assert float(last["train/images_per_second"]) == pytest.approx(4 / float(last["train/step_seconds"]), rel=1e-4)
    assert 0 <= float(last["train/data_wait_seconds"]) <= float(last["train/step_seconds"])
    assert 0.1 < float(last["train/memory_gb"]) < 100
    assert "train/mfu" not in last, "no rate is known of a CPU"


def test_the_share_of_the_makers_rate(monkeypatch):
    drive = Drive(monkeypatch, every=1)
    monkeypatch.setattr(throughput, "peak_flops", lambda device, precision: 1000.0)
    monkeypatch.setattr(throughput, "step_flops", lambda module, batch, size: 10 * batch * size)
    monkeypatch.setattr(throughput, "SPGModule", SimpleNamespace)
    drive.trainer.precision, drive.trainer.datamodule = "bf16-mixed", SimpleNamespace(crop=5)
    drive.meter.on_train_start(drive.trainer, drive.module)
    drive.step(0, 1)
    drive.step(1, 3)
    assert drive.logged[-1]["train/mfu"] == pytest.approx(
        50 * 4 / 4 / 1000
    )  # four images of 50 operations in 4 seconds


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA A100-SXM4-80GB", True),
        ("NVIDIA H100 80GB HBM3", True),
        ("Tesla T4", True),
        ("NVIDIA L40S", False),
        ("NVIDIA RTX A4000", False),
        ("NVIDIA H100 NVL", False),
        ("NVIDIA GeForce RTX 4090", False),
    ],
)
def test_only_rates_of_dense_products_count(monkeypatch, name, known):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr("lightning_fabric.accelerators.cuda._is_ampere_or_later", lambda: name != "Tesla T4")
    before = torch.get_float32_matmul_precision()
    rates = [hardware.peak_flops(torch.device("cuda"), word) for word in ("32-true", "16-mixed")]
    assert all(rates) == known
    assert not known or rates[1] > rates[0], "half precision is faster"
    assert torch.get_float32_matmul_precision() == before
