import math
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spg_lightning.spg import (
    SPGOutput,
    cascade,
    direct,
    guidance_masks,
    mask_fractions,
    masked_bce,
    masks_from_loss,
    spg_loss,
)
from spg_lightning.spg.maps import attention, upsample
from tests.reference import spg_loops

BANDS = [(0.7, 0.1), (0.5, 0.05), (0.6, 0.2)]


def output(branches="b1 b2 c", batch=3, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def maps(channels):
        return torch.randn(batch, channels, 4, 4, generator=draw, requires_grad=True)

    class_maps = maps(5)
    named = {name: maps(1) if name in branches else None for name in ("b1", "b2", "c")}
    return SPGOutput(logits=class_maps.mean((2, 3)), class_maps=class_maps, image_size=(16, 16), **named)


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


@pytest.mark.parametrize("guidance", [cascade, direct])
def test_against_the_loops(guidance):
    out = output()
    terms = spg_loss(out, LABELS, BANDS, guidance)
    assert terms["cls"].item() == pytest.approx(
        spg_loops.cross_entropy(out.logits.detach().numpy(), LABELS.numpy()), rel=1e-5
    )
    o = attention(out, LABELS).detach().numpy()[:, 0]
    up = {name: upsample(getattr(out, name), (16, 16)).detach().numpy()[:, 0] for name in ("b1", "b2", "c")}
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
def test_a_loss_tells_its_masks(guidance):
    out = output()
    told = masks_from_loss(partial(spg_loss, thresholds=BANDS, guidance=guidance), out, LABELS)
    made = guidance_masks(out, LABELS, BANDS, guidance)
    assert told.keys() == made.keys() == {"b2", "b1", "c"}
    assert all(told[name].equal(mask) for name, mask in made.items())
    assert masks_from_loss(lambda output, labels: {}, out, LABELS) == {}


class NoReading(TorchDispatchMode):
    """Fails where the host reads a value, which on a GPU would wait for it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(func)
        return func(*args, **(kwargs or {}))


def test_loss_and_shares_never_wait_for_the_device():
    out, loss = output(), partial(spg_loss, thresholds=BANDS)
    with NoReading():
        loss(out, LABELS)["total"].backward()
        for mask in masks_from_loss(loss, out, LABELS).values():
            mask_fractions(mask)
    with pytest.raises(AssertionError), NoReading():
        out.logits.sum().item()
