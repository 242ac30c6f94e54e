"""Insertion and deletion against loops over pixels, and in the command."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import gaussian_blur

from spg_lightning.evaluation.perturbation import area, class_probability, probability_curve, start_and_end


def brightness(images):
    return images.mean((1, 2, 3))


def test_the_highest_pixels_are_replaced_first():
    """Of four pixels, worth 8, 4, 2 and 1, a step of one each."""
    image = torch.tensor([8.0, 4.0, 2.0, 1.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    for score_map, expected in (
        ([4, 3, 2, 1], [15, 7, 3, 1, 0]),
        ([1, 2, 3, 4], [15, 14, 12, 8, 0]),
        ([1, 1, 1, 1], [15, 7, 3, 1, 0]),
    ):
        maps = torch.tensor(score_map, dtype=torch.float32).reshape(1, 2, 2)
        curve = probability_curve(brightness, image, torch.zeros_like(image), maps, 4)
        assert (4 * curve).tolist() == [expected]
    assert probability_curve(brightness, image, torch.zeros_like(image), maps, 3).shape == (1, 4)


def test_the_area_is_that_of_trapezoids():
    assert area(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.0]])).tolist() == [1, 0.5, 0.5]


def test_against_loops_over_pixels():
    draw = torch.Generator().manual_seed(0)
    images, maps = torch.rand(3, 3, 12, 10, generator=draw), torch.rand(3, 12, 10, generator=draw)
    weights = torch.rand(3, 12, 10, generator=draw)
    network = lambda inputs, branches: SimpleNamespace(  # noqa: E731
        logits=torch.stack([(inputs * weights).sum((1, 2, 3)), (inputs * weights.flip(1)).sum((1, 2, 3))], 1) / 40
    )
    labels, steps = torch.tensor([0, 1, 1]), 7
    ends = start_and_end(images)
    torch.testing.assert_close(ends["insertion"][0], gaussian_blur(images, [11, 11], [5.0, 5.0]))
    probability = class_probability(network, labels)
    insertion, deletion = (
        probability_curve(probability, *ends[name], maps, steps) for name in ("insertion", "deletion")
    )
    for index in range(3):
        order = sorted((-float(maps[index, y, x]), y, x) for y in range(12) for x in range(10))
        for curve, start, end in (
            (deletion, images, torch.zeros_like(images)),
            (insertion, ends["insertion"][0], images),
        ):
            now = start[index].clone()
            for step in range(steps + 1):
                expected = network(now[None], ()).logits.softmax(1)[0, labels[index]]
                assert float(curve[index, step]) == pytest.approx(float(expected), abs=1e-6)
                for _, y, x in order[18 * step : 18 * step + 18]:
                    now[:, y, x] = end[index, :, y, x]


def test_evaluate_adds_both(tiny_run, cli, tmp_path):
    words = (f"checkpoint={tiny_run[0].checkpoint}", "num_workers=0", "gallery_images=0", "report_images=0")
    cli("evaluate", *words, f"output_dir={tmp_path / 'without'}")
    assert cli("evaluate", *words, f"output_dir={tmp_path / 'with'}", "perturbation_steps=4").code == 0
    without, found = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("without", "with"))
    added = {key: value for key, value in found.items() if key not in without}
    chosen = json.loads((tmp_path / "with/provenance.json").read_text())["score_map"]
    assert set(added) == {f"test/{name}" for name in ("insertion", "deletion")} | {
        f"test/{chosen}/{name}" for name in ("insertion", "deletion")
    }
    assert all(0 < value < 100 for value in added.values())
    assert {key: found[key] for key in without} == without
    assert "insertion" in (tmp_path / "with/score_maps.csv").read_text()


def test_maps_have_no_classifier(cli, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2), np.float32))
    found = cli("evaluate", f"maps={tmp_path}", f"metadata={tmp_path}", "perturbation_steps=4")
    assert found.line == "error: perturbation_steps=4 is for checkpoint=...; leave it out"
    for value in (0, 1001, 10**20):
        line = cli("evaluate", "checkpoint=x.ckpt", f"perturbation_steps={value}").line
        assert line == f"error: perturbation_steps={value}: choose a whole number from 1 to 1000, or null"
