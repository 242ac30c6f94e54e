"""Normalisations against their definitions, pixel by pixel."""

import numpy as np
import pytest
import torch

from spg_lightning import UserError
from spg_lightning.score_maps import IVR, Max, MinMax, PaS, Percentile


def by_definition(name, values, fraction):
    """One map, as Kim et al. (ICCV 2021, section 3) define it."""
    ordered = np.sort(values.ravel())
    at = ordered[int(ordered.size * fraction)]
    if name == "max":
        return np.maximum(values, 0) / values.max()
    if name == "pas":
        shifted = values - values.min()
        return np.minimum(shifted / np.sort(shifted.ravel())[int(ordered.size * fraction)], 1)
    if name == "ivr":
        return np.maximum(values - at, 0) / (values - at).max()
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize(
    ("name", "normalize", "fraction"),
    [
        ("minmax", MinMax(), 0),
        ("max", Max(), 0),
        ("pas", PaS(0.9), 0.9),
        ("ivr", IVR(0.45), 0.45),
        ("ivr", IVR(0.6), 0.6),
    ],
)
def test_each_map_is_normalised_alone_as_defined(name, normalize, fraction):
    maps = torch.randn(3, 1, 13, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    maps[1] += 100 if name != "max" else 1
    out = normalize(maps)
    for one, values in zip(out, maps, strict=True):
        assert np.allclose(one[0].numpy(), by_definition(name, values[0].numpy(), fraction), rtol=0, atol=1e-12)
    assert out.min() >= 0
    assert out.max() <= 1


def test_percentiles_cut_off_single_pixels():
    values = torch.arange(100.0).reshape(1, 1, 10, 10)
    values[0, 0, 0, 0], values[0, 0, 9, 9] = -1e6, 1e6
    out = Percentile(0.02, 0.98)(values)
    assert (out[0, 0, 0, 0], out[0, 0, 9, 9]) == (0, 1)
    assert out[0, 0, 5, 0].item() == pytest.approx((50 - 2) / (98 - 2))
    assert torch.equal(Percentile(0, 1)(values), MinMax()(values))


@pytest.mark.parametrize("normalize", [MinMax(), Max(), Percentile(0.02, 0.98), PaS(0.9), IVR(0.45)])
def test_constant_maps_become_zero(normalize):
    assert not normalize(torch.full((2, 1, 4, 4), -3.0)).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IVR(1.0), "normalize.ivr.percentile=1"),
        (lambda: PaS(-0.1), "normalize.pas.percentile=-0.1"),
        (lambda: Percentile(0.5, 0.5), "low=0.5 and high=0.5"),
    ],
)
def test_fractions_out_of_range(make, message):
    with pytest.raises(UserError, match=message):
        make()
