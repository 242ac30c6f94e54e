"""The loss: closed form, the loop reference, weights, masks, and no wait for the device."""

import math
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spg_lightning.errors import UserError
from spg_lightning.spg import (
    SPGLoss,
    SPGOutput,
    ThresholdPair,
    cascade,
    direct,
    guidance_masks,
    mask_fractions,
    masked_bce,
    masks_from_loss,
    seeded,
    spg_loss,
    ternary_mask,
)
from spg_lightning.spg.maps import attention, upsample
from tests.reference import spg_loops

BANDS = [(0.7, 0.1), (0.5, 0.05), (0.6, 0.2)]
SIZE = (16, 12)


def output(branches="b1 b2 c", batch=3, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def maps(channels):
        return torch.randn(batch, channels, 4, 4, generator=draw, requires_grad=True)

    class_maps = maps(5)
    named = {name: maps(1) if name in branches else None for name in ("b1", "b2", "c")}
    return SPGOutput(logits=class_maps.mean((2, 3)), class_maps=class_maps, image_size=SIZE, **named)


LABELS = torch.tensor([0, 3, 4])


def test_masked_bce_in_closed_form():
    logits = torch.tensor([0.0, 0.0, 100.0, -100.0]).view(1, 1, 2, 2)
    mask = torch.tensor([1, 0, 1, -1], dtype=torch.int8).view(1, 1, 2, 2)
    assert masked_bce(logits, mask).item() == pytest.approx(2 * math.log(2) / 3)


def test_everything_ignored_costs_nothing():
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    loss = masked_bce(logits, torch.full((1, 1, 4, 4), -1, dtype=torch.int8))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_two_processes_divide_by_the_mean_of_their_pixels(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda count: count.add_(2))  # the other process has two pixels
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    logits, mask = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.int8)
    assert masked_bce(logits, mask).item() == pytest.approx(4 * math.log(2) / 3)


@pytest.mark.parametrize("guidance", [cascade, direct])
def test_against_the_loops(guidance):
    out = output()
    terms = spg_loss(out, LABELS, BANDS, guidance)
    assert terms["cls"].item() == pytest.approx(
        spg_loops.cross_entropy(out.logits.detach().numpy(), LABELS.numpy()), rel=1e-5
    )
    o = attention(out, LABELS).detach().numpy()[:, 0]
    up = {name: upsample(getattr(out, name), SIZE).detach().numpy()[:, 0] for name in ("b1", "b2", "c")}
    p1, p2 = (1 / (1 + torch.from_numpy(-up[name]).exp().numpy()) for name in ("b1", "b2"))
    teachers = {"b2": o, "b1": p2 if guidance is cascade else o, "c": (p1 + p2) / 2}
    for (name, teacher), band in zip(teachers.items(), BANDS, strict=True):
        masks = [spg_loops.mask(image, *band) for image in teacher]
        assert terms[name].item() == pytest.approx(spg_loops.bce(up[name], masks), rel=1e-5), name
    parts = sum(terms[name].item() for name in ("cls", "b2", "b1", "c"))
    assert terms["total"].item() == pytest.approx(parts, rel=1e-6)


def test_plain_learns_from_the_class_alone():
    assert spg_loss(output(branches=""), LABELS, BANDS).keys() == {"cls", "total"}
    assert spg_loss(output(branches="b1 b2"), LABELS, BANDS).keys() == {"cls", "b2", "b1", "total"}


def test_masks_carry_no_gradient():
    out = output()
    terms = spg_loss(out, LABELS, BANDS)
    (terms["b2"] + terms["b1"] + terms["c"]).backward()
    assert out.class_maps.grad is None
    for name in ("b1", "b2", "c"):
        assert getattr(out, name).grad.abs().sum() > 0
    assert not any(mask.requires_grad for mask in guidance_masks(out, LABELS, BANDS).values())


@pytest.mark.parametrize("guidance", [cascade, direct])
def test_a_loss_has_its_masks(guidance):
    out = output()
    masks = masks_from_loss(SPGLoss(BANDS, guidance, {}), out, LABELS)
    expected = guidance_masks(out, LABELS, BANDS, guidance)
    assert masks.keys() == expected.keys() == {"b2", "b1", "c"}
    assert all(masks[name].equal(mask) for name, mask in expected.items())
    assert masks_from_loss(lambda output, labels: {}, out, LABELS) == {}


def test_weights_scale_the_terms_in_the_total_alone():
    out, weights = output(), {"cls": 2.0, "b2": 0.25, "b1": 0.5, "c": 0.0}
    terms, unweighted = SPGLoss(BANDS, cascade, weights)(out, LABELS), spg_loss(out, LABELS, BANDS)
    for name in weights:
        assert terms[name].equal(unweighted[name]), name
    expected = sum(weight * unweighted[name].item() for name, weight in weights.items())
    assert terms["total"].item() == pytest.approx(expected, rel=1e-6)
    terms["total"].backward()
    assert (out.c.grad == 0).all()
    weighted = out.b1.grad.clone()
    out.b1.grad = None
    unweighted["b1"].backward()
    assert torch.equal(weighted, out.b1.grad / 2)


def test_weights_of_one_change_no_bit():
    ones = {"cls": 1.0, "b2": 1.0, "b1": 1.0, "c": 1.0}
    plain, weighted = output(), output()
    terms, same = spg_loss(plain, LABELS, BANDS), SPGLoss(BANDS, cascade, ones)(weighted, LABELS)
    parts = torch.stack([terms[name] for name in ones]).sum()
    assert parts.equal(terms["total"])
    assert parts.equal(same["total"])
    parts.backward()
    same["total"].backward()
    for name in ("class_maps", "b1", "b2", "c"):
        assert getattr(plain, name).grad.equal(getattr(weighted, name).grad), name


@pytest.mark.parametrize("weight", [-0.5, math.nan, math.inf])
def test_impossible_weights_are_refused(weight):
    with pytest.raises(UserError, match=rf"loss\.weights\.b1={weight}: choose a finite number, 0 or more"):
        SPGLoss(BANDS, cascade, {"b1": weight})
    with pytest.raises(UserError, match=r"loss\.weights\.b3 does not exist; choose from cls, b2, b1, c"):
        SPGLoss(BANDS, cascade, {"b3": 1.0})


def test_guidance_can_be_any_callable():
    class OnlyB2:
        def __call__(self, attention, b1, b2, thresholds):
            return {"b2": ternary_mask(attention, ThresholdPair(0.9, 0.2))}

    out, loss = output(), SPGLoss(BANDS, OnlyB2(), {})
    assert loss(out, LABELS).keys() == {"cls", "b2", "total"}
    assert loss.masks(out, LABELS)["b2"].equal(ternary_mask(attention(out, LABELS), ThresholdPair(0.9, 0.2)))


def test_seeds_reach_the_guidance():
    out, seeds = output(), torch.randint(-1, 2, (3, 1, *SIZE), dtype=torch.int8)
    loss = SPGLoss(BANDS, partial(seeded, branches=["b1"]), {})
    assert loss.masks(out, LABELS, seeds=seeds)["b1"] is seeds
    expected = masked_bce(upsample(out.b1, SIZE), seeds)
    assert loss(out, LABELS, seeds=seeds)["b1"].item() == pytest.approx(expected.item())
    with pytest.raises(UserError, match="no mask supervises any branch"):
        SPGLoss(BANDS, partial(seeded, branches=["b2", "b1", "c"]), {})(out, LABELS)


def test_one_of_the_two_branches_is_supervised_by_nothing():
    assert guidance_masks(output(branches="b1"), LABELS, BANDS) == {}
    assert guidance_masks(output(branches="b2"), LABELS, BANDS) == {}


class NoReading(TorchDispatchMode):
    """Fails where the host reads a value, which on a GPU would wait for it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(func)
        return func(*args, **(kwargs or {}))


def test_loss_and_shares_never_wait_for_the_device():
    out, loss = output(), SPGLoss(BANDS, cascade, {"b1": 0.5})
    with NoReading():
        loss(out, LABELS)["total"].backward()
        for mask in masks_from_loss(loss, out, LABELS).values():
            mask_fractions(mask)
    with pytest.raises(AssertionError), NoReading():
        out.logits.sum().item()
