"""The benchmark of experiments/speed: all its rows, and its arithmetic."""

import csv
import json
import time

import pytest
import torch
from benchmark import arguments, benchmark, summary
from step_timing import matmul_rate, peak_memory, time_interleaved

from spg_lightning import UserError
from tests.trees import write_cub

QUICK = (
    "--size",
    "32",
    "--num-classes",
    "3",
    "--batch-size",
    "4",
    "--warmup",
    "0",
    "--repeats",
    "2",
    "--accelerator",
    "cpu",
)


def run(cub, output, *more):
    small = ["stem.a3_channels=16", "stem.b_channels=8", "stem.c_channels=8", "dataset=cub", f"dataset.root={cub}"]
    return benchmark(arguments([*QUICK, "--output", str(output), *more, "--", *small]))


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("benchmark") / "cub")


@pytest.fixture(autouse=True)
def given_rate(monkeypatch):
    """Not measured here: in bfloat16 a large product takes half a minute on a CPU that has to emulate it."""
    monkeypatch.setattr("benchmark.matmul_rate", lambda device, dtype: 1e12)


def test_every_part_has_a_row(cub, tmp_path):
    run(cub, tmp_path / "out", "--precision", "32-true", "bf16-mixed")
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
    found = run(cub, tmp_path, "--parts", "train")
    assert [row.precision for row in found.rows] == ["32-true", "bf16-mixed"][:measured]
    assert found.facts["machine"].endswith(", bfloat16)") == (measured == 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--precision", "64"], "invalid choice: '64'"),
        (["--parts", "sleep"], "invalid choice: 'sleep'"),
        (["--stem", "vgg"], "stem/vgg"),
    ],
)
def test_mistakes_are_named(cub, tmp_path, capsys, words, message):
    with pytest.raises((SystemExit, Exception)) as stop:  # argparse exits, Hydra raises
        run(cub, tmp_path, *words)
    assert message in capsys.readouterr().err + str(stop.value)


def test_ratios_are_of_the_turns():
    of = summary([1.0, 2.0, 4.0], [4.0, 4.0, 4.0], batch=8)
    assert (of["median_s"], of["images_per_second"], of["ratio"]) == (2.0, 4.0, 2.0)
    assert summary([3.0], [6.0], batch=3)["ratio"] == 2


def test_calls_take_turns():
    said = []
    took = time_interleaved(
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu(tmp_path):
    with pytest.raises(UserError, match="no GPU here"):
        benchmark(arguments(["--accelerator", "gpu", "--output", str(tmp_path)]))
