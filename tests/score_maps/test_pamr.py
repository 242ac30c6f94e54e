"""PAMR against a slow loop written from equations 5 to 7, and its promises."""

import math

import numpy as np
import pytest
import torch

from spg_lightning import UserError
from spg_lightning.score_maps import PAMR
from spg_lightning.score_maps.pamr import affinity


def slow_pamr(values, rgb, dilations, scale, iterations):
    """One map (H, W) and its image (3, H, W), pixel by pixel in float64."""
    channels, height, width = rgb.shape

    def inside(y, x):
        return min(max(y, 0), height - 1), min(max(x, 0), width - 1)

    weights = {}
    for y in range(height):
        for x in range(width):
            places = [
                inside(y + d * dy, x + d * dx)
                for d in dilations
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if (dy, dx) != (0, 0)
            ]
            scores = np.zeros(len(places))
            for c in range(channels):
                around = [rgb[c][place] for place in places]
                deviation = np.std([*around, *[rgb[c, y, x]] * len(dilations)], ddof=1)
                for k, colour in enumerate(around):
                    scores[k] -= abs(colour - rgb[c, y, x]) / (1e-6 + scale * deviation) / channels  # equation 5
            exponents = [math.exp(score - max(scores)) for score in scores]
            weights[y, x] = [(p, e / sum(exponents)) for p, e in zip(places, exponents, strict=True)]  # equation 6
    for _ in range(iterations):
        new = np.empty_like(values)
        for (y, x), pairs in weights.items():
            new[y, x] = sum(weight * values[place] for place, weight in pairs)  # equation 7
        values = new
    return values


def test_equals_the_slow_loop():
    draw = np.random.default_rng(0)
    rgb, values = draw.random((2, 3, 9, 11)), draw.random((2, 9, 11))
    pamr = PAMR(iterations=3, dilations=[1, 2, 4], scale=0.1, side=16)
    guide = pamr.prepare(torch.from_numpy(rgb))
    ours = pamr.propagate(torch.from_numpy(values)[:, None], guide)
    for k in range(2):
        expected = slow_pamr(values[k], rgb[k], (1, 2, 4), 0.1, 3)
        assert np.allclose(ours[k, 0].numpy(), expected, rtol=0, atol=1e-10)


def test_float32_is_close_to_float64():
    draw = torch.Generator().manual_seed(1)
    rgb = torch.rand(1, 3, 24, 24, generator=draw, dtype=torch.float64) * 0.02 + 0.9
    one, other = affinity(rgb, (1, 2), 0.1), affinity(rgb.float(), (1, 2), 0.1)
    assert torch.allclose(one.float(), other, atol=1e-4)
    assert torch.allclose(one.sum(0), torch.ones_like(one[0]))


def test_rounding_of_one_colour_is_no_structure():
    sky = torch.full((1, 3, 24, 24), 0.7)
    noise = 3e-8 * torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    weights = affinity(sky + noise, (1, 2), 0.1)
    assert torch.allclose(weights, torch.full_like(weights, 1 / 16), rtol=0.1)


def test_a_blob_takes_the_shape_of_the_colour_it_covers():
    rgb = torch.zeros(1, 3, 48, 48)
    rgb[..., 12:36, 20:44] = 1  # a square object
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    blob = torch.exp(-((y - 24) ** 2 + (x - 26) ** 2) / 150)[None, None]
    pamr = PAMR(10, [1, 2, 4, 8, 12, 24], 0.1, side=48)
    refined = pamr(blob, pamr.guide(rgb))[0, 0]
    truth = rgb[0, 0] > 0

    def best_iou(values):
        return max(
            ((values > t) & truth).sum().item() / ((values > t) | truth).sum().item() for t in np.arange(0.05, 1, 0.05)
        )

    assert best_iou(blob[0, 0]) < 0.75
    assert best_iou(refined) > 0.95


def test_each_image_is_refined_alone_and_flips_with_it():
    draw = torch.Generator().manual_seed(2)
    rgb, maps = torch.rand(3, 3, 40, 56, generator=draw), torch.rand(3, 1, 40, 56, generator=draw)
    pamr = PAMR(4, [1, 2, 4], 0.1, side=32)
    together = pamr(maps, pamr.guide(rgb))
    for k in range(3):
        assert torch.allclose(together[k : k + 1], pamr(maps[k : k + 1], pamr.guide(rgb[k : k + 1])), atol=1e-5)
    flipped = pamr(maps.flip(-1), pamr.guide(rgb.flip(-1)))
    assert torch.allclose(flipped.flip(-1), together, atol=1e-4)
    assert together.shape == maps.shape
    assert (together.amin(), together.amax()) == (0, 1)


@pytest.mark.parametrize("size", [(8, 8), (5, 90), (1, 1)])
def test_small_and_grey_images(size):
    pamr = PAMR(2, [1, 24], 0.1, side=32)
    rgb, maps = torch.full((1, 3, *size), 0.5), torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(3))
    assert torch.isfinite(pamr(maps, pamr.guide(rgb))).all()


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"dilations": []}, {"dilations": [0]}, {"scale": 0}, {"side": 4}])
def test_values_out_of_range(wrong):
    with pytest.raises(UserError, match="refine"):
        PAMR(**{"iterations": 10, "dilations": [1], "scale": 0.1, "side": 32, **wrong})
