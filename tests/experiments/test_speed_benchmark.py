"""The verb `benchmark`: what it measures is there, and its arithmetic is right."""

import csv
import json
import time

import pytest
import torch
from benchmark import summary
from step_timing import matmul_rate, peak_memory, taking_turns

from spg_lightning import UserError, benchmark, compose
from tests.trees import write_cub

SMALL = "overrides=['stem.a3_channels=16','stem.b_channels=8','stem.c_channels=8','dataset=cub','dataset.root={}']"
QUICK = ("size=32", "num_classes=3", "batch_size=4", "warmup=0", "repeats=2", "accelerator=cpu")


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("benchmark") / "cub")


@pytest.fixture(autouse=True)
def given_rate(monkeypatch):
    """Not measured here: in bfloat16 a large product takes half a minute on a CPU that has to emulate it."""
    monkeypatch.setattr("benchmark.matmul_rate", lambda device, dtype: 1e12)


def test_every_part_has_a_row(verb, cub, tmp_path):
    both = "precision=[32-true,bf16-mixed]"
    done = verb("benchmark", *QUICK, both, SMALL.format(cub), f"output_dir={tmp_path / 'out'}")
    assert done.code == 0, done.err
    rows = list(csv.DictReader((tmp_path / "out/results.csv").open()))
    said = [(row["part"], row["stem"], row["precision"]) for row in rows]
    assert said == [
        *(
            (part, "efficientnet_lite0", precision)
            for part in ("train", "evaluate")
            for precision in ("32-true", "bf16-mixed")
        ),
        ("input", "cub", "-"),
    ]
    facts = json.loads((tmp_path / "out/facts.json").read_text())
    for row in rows:
        median = float(row["median_s"])
        assert float(row["quartile1_s"]) <= median <= float(row["quartile3_s"])
        assert float(row["images_per_second"]) == pytest.approx(4 / median)
        if row["part"] == "train":
            rate = 1e9 * facts["matmul_gflops"][row["precision"]]
            assert float(row["matmul_share"]) == pytest.approx(4e9 * float(row["gflops"]) / median / rate, rel=0.01)
            assert float(row["memory_mb"]) > 0
    table = (tmp_path / "out/table.md").read_text()
    assert table.count("\n| train | efficientnet_lite0 | 4 |") == 2


@pytest.mark.parametrize(("has", "measured"), [({"amx_bf16": True}, 2), ({"avx512_f": True}, 1)])
def test_bfloat16_is_measured_where_the_cpu_has_it(cub, tmp_path, monkeypatch, has, measured):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    found = benchmark(compose("benchmark", [*QUICK, "parts=[train]", SMALL.format(cub), f"output_dir={tmp_path}"]))
    assert [row.precision for row in found.rows] == ["32-true", "bf16-mixed"][:measured]
    assert found.facts["machine"].endswith(", bfloat16)") == (measured == 2)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("precision=64", "precision=64: choose from 32-true, bf16-mixed"),
        ("parts=[sleep]", "parts=sleep: choose from train, evaluate, input"),
        ("accelerator=tpu", "accelerator=tpu: choose auto, cpu or gpu"),
        ("stem=vgg", "stem=vgg"),
    ],
)
def test_mistakes_are_told(verb, override, said):
    assert said in verb("benchmark", *QUICK[:-1], "accelerator=cpu", override).line


def test_ratios_are_of_the_turns():
    of = summary([1.0, 2.0, 4.0], [4.0, 4.0, 4.0], batch=8)
    assert (of["median_s"], of["images_per_second"], of["ratio"]) == (2.0, 4.0, 2.0)
    assert summary([3.0], [6.0], batch=3)["ratio"] == 2


def test_calls_take_turns():
    said = []
    took = taking_turns(
        {"a": lambda: said.append("a"), "b": lambda: (said.append("b"), time.sleep(0.02))},
        torch.device("cpu"), warmup=1, repeats=2, times=3,
    )  # fmt: skip
    assert "".join(said) == "ab" + "aaabbb" * 2
    assert min(took["b"]) >= 0.02 > max(took["a"])


def test_memory_is_what_a_call_holds_beyond_what_stays():
    kept = []

    def call():
        if not kept:
            kept.append(torch.ones(5_000_000))
        torch.ones(10_000_000)

    held = peak_memory(call, torch.device("cpu"))
    if held is None:
        pytest.skip("this system does not tell the peak")
    assert held == pytest.approx(40e6, rel=0.1)


def test_a_product_has_a_rate():
    assert 1e9 < matmul_rate(torch.device("cpu"), torch.float32, repeats=1) < 1e14


def test_a_library_call(cub, tmp_path):
    found = benchmark(compose("benchmark", [*QUICK, "parts=[input]", SMALL.format(cub), f"output_dir={tmp_path}"]))
    assert [row.part for row in found.rows] == ["input"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no GPU here"):
        benchmark(compose("benchmark", ["accelerator=gpu", f"output_dir={tmp_path}"]))
