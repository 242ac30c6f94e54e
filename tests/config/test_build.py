"""Trainers, precision and workers that a config chooses."""

import os

import pytest
import torch

from spg_lightning import UserError, compose
from spg_lightning.callbacks.progress_bar import ProgressBar
from spg_lightning.config.build import build_evaluator, build_trainer, num_workers_of, precision_of
from tests.conftest import TINY

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*TWO, "trainer.sync_batchnorm=true"), "sync_batchnorm"),
        (("trainer.accelerator=nothing",), "trainer: "),
    ],
)
def test_impossible_trainers_are_refused(tmp_path, overrides, message):
    cfg = compose("train", [*(o for o in TINY if "accelerator" not in o), *overrides, f"output_dir={tmp_path}"])
    with pytest.raises(UserError, match=message):
        build_trainer(cfg, [])


def test_an_evaluation_has_the_bar_of_training(tmp_path):
    trainer = build_evaluator(compose("evaluate", ["accelerator=cpu"]), tmp_path)
    assert isinstance(trainer.progress_bar_callback, ProgressBar)


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
def test_presets_choose_the_precision(monkeypatch, overrides, gpu, of_gpu, of_cpu, precision):
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
def test_gpu_processes_share_the_cores(monkeypatch, overrides, gpus, workers):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    assert num_workers_of(compose("train", [*overrides, "output_dir=x"])) == workers


@pytest.mark.parametrize(("of_cpu", "warned"), [({"avx512_bf16": True}, 0), ({"avx512_f": True}, 1)])
def test_emulated_bfloat16_gives_a_warning(tmp_path, monkeypatch, caplog, of_cpu, warned):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: of_cpu)
    build_trainer(compose("train", [*TINY, "trainer.precision=bf16-mixed", f"output_dir={tmp_path}"]), [])
    assert caplog.text.count("no instructions for bfloat16") == warned


def test_torchrun_and_the_trainer_must_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="torchrun started 3 processes, the config has 1"):
        build_trainer(compose("train", [*TINY, f"output_dir={tmp_path}"]), [])
