"""The frame of refinement and the guided filter."""

import numpy as np
import pytest
import torch

from spg_lightning import UserError
from spg_lightning.score_maps import GuidedFilter
from spg_lightning.score_maps.refinement import Refinement, joint_upsample


class Nothing(Refinement):
    """Refines nothing: what remains is the way to the frame and back."""

    def prepare(self, rgb):
        return None

    def propagate(self, maps, guide):
        return maps


def test_the_way_back_follows_the_edges_of_the_image():
    rgb = torch.zeros(1, 3, 96, 96)
    rgb[..., 21:75, 33:81] = 1
    truth = rgb[:, :1]
    refinement = Nothing(side=32)
    back = refinement(truth, refinement.guide(rgb))
    plain = torch.nn.functional.interpolate(
        torch.nn.functional.interpolate(truth, size=(32, 32), mode="area"), size=(96, 96), mode="bilinear"
    )
    assert ((back > 0.5) != (truth > 0.5)).float().mean() == 0
    assert (back - truth).abs().mean() < (plain - truth).abs().mean() / 2


def test_a_frame_of_the_images_size_changes_nothing():
    maps = torch.rand(2, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    maps = (maps - maps.amin((2, 3), True)) / (maps.amax((2, 3), True) - maps.amin((2, 3), True))
    refinement = Nothing(side=30)
    assert torch.allclose(refinement(maps, refinement.guide(torch.rand(2, 3, 20, 30))), maps)


def test_joint_upsampling_of_a_linear_relation_is_exact():
    rgb = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1)).expand(1, 3, 64, 64)
    small = torch.nn.functional.interpolate(rgb, size=(32, 32), mode="area")
    up = joint_upsample(0.3 + 0.5 * small.mean(1, keepdim=True), small, rgb)
    assert (up - (0.3 + 0.5 * rgb[:, :1])).abs().mean() < 0.02


def slow_guided_filter(values, guide, radius, epsilon):
    """He, Sun and Tang, equations 14 to 16 with an RGB guide, window by window; borders reflect as kornia's."""
    padded_v, padded_g = (
        np.pad(a, [(0, 0)] * (a.ndim - 2) + [(radius, radius)] * 2, "reflect") for a in (values, guide)
    )
    height, width = values.shape
    slopes, offsets = np.zeros((3, height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = np.s_[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            colours, p = padded_g[(np.s_[:], *window)].reshape(3, -1), padded_v[window].ravel()
            covariance = np.cov(colours, bias=True) + epsilon * np.eye(3)
            slopes[:, y, x] = np.linalg.solve(covariance, (colours * p).mean(1) - colours.mean(1) * p.mean())
            offsets[y, x] = p.mean() - slopes[:, y, x] @ colours.mean(1)
    mean = [np.pad(a, [(0, 0)] * (a.ndim - 2) + [(radius, radius)] * 2, "reflect") for a in (slopes, offsets)]
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = np.s_[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            out[y, x] = mean[0][(np.s_[:], *window)].reshape(3, -1).mean(1) @ guide[:, y, x] + mean[1][window].mean()
    return out


def test_the_guided_filter_is_its_definition():
    draw = np.random.default_rng(0)
    rgb, values = draw.random((3, 12, 14)), draw.random((12, 14))
    refined = GuidedFilter(radius=2, epsilon=0.01, side=16).propagate(
        torch.from_numpy(values)[None, None], torch.from_numpy(rgb)[None]
    )
    assert np.allclose(refined[0, 0].numpy(), slow_guided_filter(values, rgb, 2, 0.01), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"radius": 0}, {"epsilon": 0}, {"side": 7}])
def test_values_out_of_range(wrong):
    with pytest.raises(UserError, match="refine"):
        GuidedFilter(**{"radius": 2, "epsilon": 0.1, "side": 32, **wrong})
