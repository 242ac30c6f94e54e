"""The exported program: its resizing is OpenCV's, its PAMR the package's."""

import copy

import cv2
import numpy as np
import pytest
import torch

from spg_lightning import Localizer
from spg_lightning.exporting.convolution_pamr import ConvolutionPAMR
from spg_lightning.exporting.decompositions import kth_value, solve
from spg_lightning.exporting.formats import trace, write_onnx
from spg_lightning.exporting.opencv_resize import resize
from spg_lightning.exporting.program import LocalizationProgram
from spg_lightning.score_maps import PAMR
from tests.trees import photo_like


@pytest.mark.parametrize(
    "size", [(81, 57), (300, 200), (64, 64), (20, 500), (1601, 1200), (128, 128), (3, 2), (1, 1), (97, 400)]
)
@pytest.mark.parametrize("side", [64, 224])
def test_resizing_is_opencvs(size, side):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    ours = resize(torch.from_numpy(image)[None].permute(0, 3, 1, 2), side)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(ours, cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR))


def pamr():
    return PAMR(iterations=3, dilations=[1, 2, 4], scale=0.1, side=48)


def test_pamr_by_convolution():
    rgb = torch.from_numpy(np.stack([photo_like((64, 48), seed) for seed in (0, 1)])).permute(0, 3, 1, 2) / 255
    maps = torch.rand(2, 1, 48, 64)
    plain, convolved = pamr(), ConvolutionPAMR(pamr())
    assert torch.allclose(plain(maps, plain.guide(rgb)), convolved(maps, convolved.guide(rgb)), atol=1e-5)


def test_flat_colours_keep_the_epsilon_of_pamr(tiny_run, tmp_path):
    """The ONNX exporter drops additions of 1e-8: the standard deviation of a flat region would divide zero by zero."""
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from spg_lightning.exporting.description import ModelDescription

    localizer = Localizer.load(tiny_run[0].checkpoint, score_map="b1", threshold=0.2)
    localizer.score_maps["b1"] = copy.copy(localizer.score_maps["b1"])
    localizer.score_maps["b1"].refinement = pamr()
    picture = photo_like((64, 64), 0)
    picture[:30] = 255
    description = ModelDescription(localizer.class_names, 64, "b1", False, 1, 0.2)
    write_onnx(trace(LocalizationProgram(localizer, 1)), description, tmp_path / "model.onnx")
    (maps,) = ort.InferenceSession(tmp_path / "model.onnx").run(["maps"], {"images": picture[None]})
    assert np.abs(maps[0, 0] - localizer(picture)[0].score_map).max() < 1e-4


def test_masks_are_cut_at_every_level(tiny_run):
    for threshold in (0.0, 0.2, 0.58, 0.999):
        localizer = Localizer.load(tiny_run[0].checkpoint, score_map="b1", threshold=threshold)
        maps = torch.rand(3, 1, 64, 64) * torch.tensor([1.0, 0.4, 0.0])[:, None, None, None]
        masks = LocalizationProgram(localizer, 1).masks(maps)
        quantized = (maps.numpy() * 255).astype(np.uint8)
        for i in range(3):
            assert np.array_equal(masks[i].numpy(), quantized[i] > int(threshold * int(quantized[i].max())))


def test_simpler_operations():
    torch.manual_seed(0)
    square = torch.rand(2, 5, 3, 3)
    matrix, right = square @ square.mT + 0.1 * torch.eye(3), torch.rand(2, 5, 3, 2)
    assert torch.allclose(solve(matrix, right), torch.linalg.solve(matrix, right), atol=1e-4)
    values = torch.rand(2, 7)
    assert torch.equal(kth_value(values, 3, 1)[0], values.kthvalue(3, 1).values)
    assert torch.equal(kth_value(values, 3, 1, keepdim=True)[0], values.kthvalue(3, 1, keepdim=True).values)
