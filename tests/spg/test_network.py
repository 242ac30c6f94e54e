"""The network's wiring, on a stem small enough to look at."""

import math
import re

import pytest
import torch
from torch import nn

from spg_lightning.errors import UserError
from spg_lightning.spg import SPGNetwork
from spg_lightning.stems import Stem, StemChannels, StemFeatures


class TinyStem(Stem):
    mean, std = (0.5,) * 3, (0.5,) * 3
    channels = StemChannels(a1=4, a2=8, a2_penultimate=6)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.middle = nn.Conv2d(4, 6, 1)
        self.last = nn.Conv2d(6, 8, 1)

    def forward(self, images):
        a1 = self.first(images)
        previous = self.middle(a1)
        return StemFeatures(a1, self.last(previous), previous)


def network(branches=("b1", "b2", "c"), shared_weights=True, b2_input="a2_penultimate", dropout=0.5):
    torch.manual_seed(0)
    return SPGNetwork(TinyStem(), 5, 16, 8, dropout, branches, shared_weights, b2_input, 8)


IMAGES = torch.randn(2, 3, 32, 24)


def test_shapes():
    out = network()(IMAGES)
    assert out.logits.shape == (2, 5)
    assert out.class_maps.shape == (2, 5, 8, 6)
    assert out.b1.shape == out.b2.shape == out.c.shape == (2, 1, 8, 6)
    assert out.image_size == (32, 24)
    assert torch.allclose(out.logits, out.class_maps.mean((2, 3)))


def test_branches_cost_nothing_unless_asked_for(monkeypatch):
    net = network().eval()
    whole = net(IMAGES)
    for part in (net.b1, net.b2, net.b_head, net.c):
        monkeypatch.setattr(part, "forward", lambda x: pytest.fail("a branch was computed"))
    out = net(IMAGES, branches=())
    assert (out.b1, out.b2, out.c) == (None, None, None)
    assert torch.equal(out.logits, whole.logits)


def test_shared_weights_are_one_module():
    shared, own = network(shared_weights=True), network(shared_weights=False)
    assert shared.b2_head is shared.b_head
    assert own.b2_head is not own.b_head
    extra = sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in shared.parameters())
    assert extra == sum(p.numel() for p in own.b_head.parameters())


def test_b2s_tap():
    assert network(b2_input="a2_penultimate").b2.in_channels == 6
    assert network(b2_input="a2").b2.in_channels == 8
    with pytest.raises(UserError, match="b2_input=a3"):
        network(b2_input="a3")


def test_dropout_acts_in_training_only():
    net = network()
    assert not torch.equal(net(IMAGES).logits, net(IMAGES).logits)
    net.eval()
    assert torch.equal(net(IMAGES).logits, net(IMAGES).logits)


def test_plain_has_no_branches():
    net = network(branches=())
    assert not hasattr(net, "b1")
    with pytest.raises(UserError, match=r"no branch \['c'\]; it has none"):
        net(IMAGES, branches=("c",))


def test_spg_without_c():
    net = network(branches=("b1", "b2"))
    assert not hasattr(net, "c")
    assert net(IMAGES).c is None
    with pytest.raises(UserError, match=r"no branch \['c'\]; it has \['b1', 'b2'\]"):
        net(IMAGES, branches=("c",))
    with pytest.raises(UserError, match=r"branches=\['b1'\]: choose \[\], \[b1, b2\] or \[b1, b2, c\]"):
        network(branches=("b1",))


@pytest.mark.parametrize(("name", "value"), [("mean", (0.5,) * 2), ("std", (0.5,) * 4), ("std", (0.5, 0.0, 0.5))])
def test_impossible_means_and_deviations_of_a_stem(name, value, monkeypatch):
    monkeypatch.setattr(TinyStem, name, value)
    with pytest.raises(UserError, match=rf"{name}={re.escape(str(list(value)))}.*three numbers each, std above 0"):
        network()


def test_new_parts_are_drawn_from_xaviers_range():
    net = network()
    assert {*net.head_modules()} == {*net.children()} - {net.stem}
    for part in net.head_modules():
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                fan_in, fan_out = (layer.weight[0, 0].numel() * layer.weight.shape[k] for k in (1, 0))
                assert 0.8 < layer.weight.abs().max().item() / math.sqrt(6 / (fan_in + fan_out)) <= 1
                assert not layer.bias.any()


def test_a_frozen_a1_stays_frozen_in_training():
    net = network()
    net.stem.freeze("a1")
    net.train()
    assert not net.stem.first.training
    assert not any(p.requires_grad for p in net.stem.first.parameters())
    assert all(p.requires_grad for p in net.stem.middle.parameters())
