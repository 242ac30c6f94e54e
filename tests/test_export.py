"""`export`: the file, what it prints, and mistakes in one line."""

import re

import pytest

from spg_lightning import Localizer


def test_torch_export(tiny_run, cli, tmp_path):
    done = cli(
        "export", f"checkpoint={tiny_run[0].checkpoint}", "format=torch_export", f"output={tmp_path}/a/model.pt2"
    )
    assert done.code == 0, done.err
    found = re.search(
        r"largest differences from the checkpoint on 4 random images: probabilities (\S+), score maps (\S+)", done.err
    )
    assert found, done.err
    assert float(found[1]) < 1e-5
    assert float(found[2]) < 1e-4
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["model.pt2"]
    checkpoint = Localizer.load(tiny_run[0].checkpoint)
    loaded = Localizer.load(tmp_path / "a" / "model.pt2")
    assert (loaded.name, loaded.threshold) == (checkpoint.name, checkpoint.threshold)
    assert loaded.confidence == checkpoint.confidence


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices",
    [
        ["refine=pamr", "score_map=b1", "threshold=0.2"],
        ["refine=guided_filter", "score_map=fused", "threshold=0.2"],
        ["normalize=pas", "score_map=attention", "threshold=0.2", "top_k=3"],
        ["views=flip", "score_map=c", "threshold=0.2"],
        ["score_map=attention", "score_map.name=attention+b2", "threshold=0.2"],
    ],
    ids=" ".join,
)
def test_onnx_expresses_every_part(tiny_run, cli, tmp_path, choices):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    done = cli("export", f"checkpoint={tiny_run[0].checkpoint}", f"output={tmp_path}/model.onnx", *choices)
    assert done.code == 0, done.err
    assert float(re.search(r"score maps (\S+)", done.err)[1]) < 1e-4


def test_mistakes(tiny_run, cli, tmp_path):
    (tmp_path / "file").touch()
    for choices, message in (
        (["format=onxx"], "format=onxx: choose onnx, torch_export, openvino. Did you mean 'onnx'?"),
        (["format=torch_export", f"output={tmp_path}/a.onnx"], "format=torch_export writes a .pt2 file"),
        (["format=torch_export", "top_k=4"], "top_k=4: choose 1 to 3"),
        (["format=torch_export", "score_map=grad_cam", "threshold=0.2"], "score_map=grad_cam needs gradients"),
        (["format=torch_export", f"output={tmp_path}/file/a.pt2"], "cannot be written"),
        (["format=torch_export", "score_map=score_cam", "threshold=0.2"], "score_map=score_cam"),
    ):
        done = cli("export", f"checkpoint={tiny_run[0].checkpoint}", *choices)
        assert done.code == 1, choices
        assert message in done.line
    done = cli("export", f"checkpoint={tmp_path}/none.ckpt")
    assert "no such file" in done.line
