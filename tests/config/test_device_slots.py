"""Devices and cores are divided among jobs so that each has its own."""

import os
import subprocess
import sys

import pytest

from spg_lightning import UserError
from spg_lightning.config.device_slots import Slot, devices_of, slots_of, visible_gpus


def test_each_device_has_its_slots_and_cores_are_divided():
    slots = slots_of(["0", "1"], 1, 2, range(8))
    assert [slot.devices for slot in slots] == [("0",), ("0",), ("1",), ("1",)]
    assert [slot.cores for slot in slots] == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_jobs_of_several_devices_take_neighbours_and_leave_what_is_over():
    slots = slots_of(["0", "1", "2", "3", "4"], 2, 1, range(6))
    assert [slot.devices for slot in slots] == [("0", "1"), ("2", "3")]
    assert [slot.cores for slot in slots] == [(0, 1, 2), (3, 4, 5)]


def test_fewer_cores_than_slots_are_shared():
    assert [slot.cores for slot in slots_of(list("abcd"), 1, 1, [5, 9])] == [(5,), (5,), (9,), (9,)]


@pytest.mark.parametrize(
    ("numbers", "line"), [((2, 1), "needs 2 devices, and there are 1"), ((0, 1), "at least 1"), ((1, 0), "at least 1")]
)
def test_impossible_numbers_are_refused(numbers, line):
    with pytest.raises(UserError, match=line):
        slots_of(["0"], *numbers, range(2))


def test_a_process_sees_its_devices_and_cores_alone():
    code = (
        "import os, sys; from spg_lightning.config.device_slots import Slot, usable_cores; "
        "core = usable_cores()[-1]; Slot(('3', 'MIG-7c'), (core,)).occupy(); "
        "print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'], usable_cores() == [core])"
    )
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    env.pop("OMP_NUM_THREADS", None)
    for more, threads in (({}, 1), ({"OMP_NUM_THREADS": "5"}, 5)):
        process = [sys.executable, "-c", code]
        out = subprocess.run(process, env=env | more, capture_output=True, text=True, check=True).stdout
        assert out == f"3,MIG-7c {threads} True\n"


def test_slots_have_names():
    assert str(Slot(("0", "1"), (0,))) == "GPU 0,1"
    assert str(Slot(("MIG-7c",), (0,))) == "MIG-7c"
    assert str(Slot(("cpu:1",), (2, 3))) == "CPU cores 2,3"


def test_the_gpus_are_those_of_cuda_visible_devices(monkeypatch):
    for value, gpus in {"4, 5": ["4", "5"], "MIG-a,GPU-b": ["MIG-a", "GPU-b"], "": [], "2,-1,3": ["2"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert visible_gpus() == gpus


def test_without_the_variable_torch_counts(monkeypatch):
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == [str(k) for k in range(torch.cuda.device_count())]


def test_devices_are_chosen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert devices_of("auto", on_cpu=False) == ["4", "5", "6"]
    assert devices_of(2, on_cpu=False) == ["4", "5"]
    assert devices_of([0, "MIG-a"], on_cpu=False) == ["0", "MIG-a"]
    assert devices_of(2, on_cpu=True) == ["cpu:0", "cpu:1"]
    assert devices_of("auto", on_cpu=True) == ["cpu:0"]
    for asked, line in {4: "there are 3 GPUs", 0: "choose auto", "all": "choose auto"}.items():
        with pytest.raises(UserError, match=line):
            devices_of(asked, on_cpu=False)
    with pytest.raises(UserError, match="names one twice"):
        devices_of([0, 0], on_cpu=False)
