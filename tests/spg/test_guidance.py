"""Masks: the rule in closed form, the loop reference, and what must not change them."""

import numpy as np
import pytest
import torch

from spg_lightning.errors import UserError
from spg_lightning.spg import (
    BACKGROUND,
    FOREGROUND,
    IGNORED,
    ThresholdPair,
    Thresholds,
    cascade,
    direct,
    mask_fractions,
    seeded,
    ternary_mask,
)
from tests.reference import spg_loops

BANDS = Thresholds.of([(0.7, 0.1), (0.5, 0.05), (0.6, 0.2)])


def score_maps(count=4, side=16, seed=0):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_three_kinds_of_pixels():
    values = torch.full((1, 1, 8, 8), 0.3)
    values[0, 0, :5] = 0.9  # 40 pixels: enough foreground
    values[0, 0, 7] = 0.05
    found = ternary_mask(values, ThresholdPair(0.7, 0.1))[0, 0]
    assert (found[:5] == FOREGROUND).all()
    assert (found[5:7] == IGNORED).all()
    assert (found[7] == BACKGROUND).all()


def test_thresholds_themselves_are_ignored():
    values = torch.full((1, 1, 10, 10), 0.5)
    values[0, 0, :5] = 1.0
    values[0, 0, 9] = 0.25
    assert (ternary_mask(values, ThresholdPair(0.5, 0.25))[0, 0, 5:] == IGNORED).all()


def test_too_little_foreground_lowers_only_that_images_threshold():
    values = score_maps(2)
    values[0] *= 0.6  # nothing above 0.7: its threshold becomes 0.42
    found = ternary_mask(values, ThresholdPair(0.7, 0.1))
    assert (found[0] == FOREGROUND).equal(values[0] > 0.7 * values[0].max())
    assert (found[1] == FOREGROUND).equal(values[1] > 0.7)


@pytest.mark.parametrize(("above", "is_lowered"), [(29, True), (30, False)])
def test_thirty_pixels_above_the_threshold_are_enough(above, is_lowered):
    values = torch.full((1, 1, 8, 8), 0.8)
    values[0, 0].view(-1)[40:] = 0.7  # at the threshold, not above it
    values[0, 0].view(-1)[above:40] = 0.65
    found = ternary_mask(values, ThresholdPair(0.7, 0.1))
    assert (found == FOREGROUND).equal(values > (0.7 * 0.8 if is_lowered else 0.7))


def test_background_wins_over_a_lowered_threshold():
    assert (ternary_mask(torch.full((1, 1, 4, 4), 0.05), ThresholdPair(0.7, 0.1)) == BACKGROUND).all()


@pytest.mark.parametrize("band", [(0.7, 0.1), (0.5, 0.05), (0.28, 0.02), (0.97, 0.9)])
def test_against_the_loop(band):
    values = score_maps(6)
    values[2:4] *= 0.3
    found = ternary_mask(values, ThresholdPair(*band))
    for image, own in zip(values.numpy(), found.numpy(), strict=True):
        assert np.array_equal(own[0], spg_loops.mask(image[0], *band))


def test_masks_follow_permutation_and_flip():
    values = score_maps()
    band = ThresholdPair(0.7, 0.1)
    order = torch.tensor([2, 0, 3, 1])
    assert ternary_mask(values[order], band).equal(ternary_mask(values, band)[order])
    assert ternary_mask(values.flip(3), band).equal(ternary_mask(values, band).flip(3))


def test_who_teaches_whom():
    attention, b1, b2 = score_maps(seed=1), score_maps(seed=2), score_maps(seed=3)
    masks = cascade(attention, b1, b2, BANDS)
    assert masks["b2"].equal(ternary_mask(attention, BANDS.b2))
    assert masks["b1"].equal(ternary_mask(b2, BANDS.b1))
    assert masks["c"].equal(ternary_mask((b1 + b2) / 2, BANDS.c))
    assert direct(attention, b1, b2, BANDS)["b1"].equal(ternary_mask(attention, BANDS.b1))


def test_seeds_replace_the_masks_of_their_branches():
    maps = score_maps(seed=1), score_maps(seed=2), score_maps(seed=3)
    seeds = ternary_mask(score_maps(seed=4), BANDS.b2)
    masks = seeded(*maps, BANDS, ["b1", "c"], seeds)
    assert masks["b1"] is masks["c"] is seeds
    assert masks["b2"].equal(cascade(*maps, BANDS)["b2"])
    assert seeded(*maps, BANDS, ["b1", "c"]).keys() == {"b2"}
    with pytest.raises(UserError, match=r"guidance\.branches=\['c', 'b3'\]: b3 is not among b2, b1 and c"):
        seeded(*maps, BANDS, ["c", "b3"])


def test_shares_of_a_mask():
    mask = torch.tensor([[1, 1, 0, -1], [0, 0, -1, 0]], dtype=torch.int8).view(2, 1, 2, 2)
    shares = {name: share.item() for name, share in mask_fractions(mask).items()}
    assert shares == {"foreground": 0.25, "background": 0.5, "ignored": 0.25}


@pytest.mark.parametrize("pair", [(0.1, 0.7), (0.5, 0.5), (1.2, 0.1), (0.5, -0.1)])
def test_impossible_bands_are_refused(pair):
    with pytest.raises(UserError, match=r"thresholds\.b1: low=.* and high="):
        Thresholds.of([(0.7, 0.1), pair, (0.7, 0.1)])


def test_the_ends_of_the_range_are_possible():
    assert Thresholds.of([(1, 0)] * 3).b1 == (1, 0)


def test_thresholds_are_accepted_as_pairs_config_or_object():
    config = {"b2": {"high": 0.7, "low": 0.1}, "b1": {"high": 0.5, "low": 0.05}, "c": {"high": 0.6, "low": 0.2}}
    assert Thresholds.of(config) == BANDS
    assert Thresholds.of(BANDS) is BANDS
