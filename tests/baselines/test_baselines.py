"""Each method against its definition, written out pixel by pixel."""

import numpy as np
import pytest
import torch

from spg_lightning.baselines import ACoLNetwork, AttentionDropout, acol_step, cutmix_step, has_step, hide_patches
from spg_lightning.baselines.cutmix import window
from spg_lightning.spg.losses import spg_loss
from tests.spg.test_network import TinyStem


def test_hidden_cells_are_whole_and_hidden_at_the_rate():
    torch.manual_seed(0)
    images = torch.rand(40, 3, 50, 70) + 1
    hidden = hide_patches(images, grid_size=16, drop_rate=0.3)
    shares = []
    for image, original in zip(hidden, images, strict=True):
        for y in range(0, 50, 16):
            for x in range(0, 70, 16):
                cell = image[:, y : y + 16, x : x + 16]
                gone = bool((cell == 0).all())
                assert gone or torch.equal(cell, original[:, y : y + 16, x : x + 16])
                shares.append(gone)
    assert np.mean(shares) == pytest.approx(0.3, abs=0.05)
    assert torch.equal(hide_patches(images, 16, 0.0), images)


def test_has_step_shows_the_network_hidden_images():
    images = torch.ones(2, 3, 8, 8)
    terms = has_step(
        lambda x: x.sum(), lambda out, labels: {"total": out}, images, torch.zeros(2, dtype=torch.long), 4, 1.0
    )
    assert terms["total"] == 0


def cross_entropy(output, labels):
    value = torch.nn.functional.cross_entropy(output, labels)
    return {"cls": value, "total": value}


def test_cutmix_pastes_a_window_and_weighs_labels_by_area():
    torch.manual_seed(1)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 20, 30).contiguous()
    labels = torch.tensor([0, 1, 2, 0])
    seen = {}

    def network(mixed):
        seen["images"] = mixed
        seen["logits"] = torch.randn(4, 3)
        return seen["logits"]

    mixes = 0
    for _ in range(20):
        total = cutmix_step(network, cross_entropy, images, labels, 1.0, 1.0)["total"]
        mixed = seen["images"]
        expected = torch.zeros(())
        for i in range(4):
            others = mixed[i, 0][mixed[i, 0] != i]
            pasted = int(others[0]) if len(others) else i
            assert bool((others == pasted).all())
            assert torch.equal(mixed[i, 0], mixed[i, 2])
            area = len(others) / 600
            mixes += area > 0
            logs = -seen["logits"][i].log_softmax(0)
            # where an image meets itself, the labels agree, and the shares do not matter
            expected += ((1 - area) * logs[labels[i]] + area * logs[labels[pasted]]) / 4
        assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert mixes > 20


def test_cutmix_windows_have_the_area_drawn_and_stay_inside():
    torch.manual_seed(0)
    areas = []
    for _ in range(300):
        top, bottom, left, right = window(100, 60, 0.75)
        assert 0 <= top <= bottom <= 100
        assert 0 <= left <= right <= 60
        assert bottom - top <= 50
        assert right - left <= 30
        areas.append((bottom - top) * (right - left))
    assert max(areas) == 50 * 30


def test_cutmix_leaves_batches_alone_at_probability_zero():
    images, labels = torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
    seen = []
    cutmix_step(lambda x: seen.append(x) or torch.zeros(2, 3), cross_entropy, images, labels, 1.0, 0.0)
    assert torch.equal(seen[0], images)


@pytest.mark.parametrize(("rate", "kind"), [(1.0, "drop"), (0.0, "importance")])
def test_adl_by_place(rate, kind):
    torch.manual_seed(0)
    features = torch.rand(3, 5, 4, 6)
    layer = AttentionDropout(rate, threshold=0.8)
    out = layer(features)
    for b in range(3):
        attention = features[b].mean(0)
        for y in range(4):
            for x in range(6):
                if kind == "drop":
                    factor = 0.0 if attention[y, x] >= 0.8 * attention.max() else 1.0
                else:
                    factor = 1 / (1 + float(torch.exp(-attention[y, x])))
                assert torch.allclose(out[b, :, y, x], features[b, :, y, x] * factor)
    assert torch.equal(layer.eval()(features), features)


def test_adl_drops_at_the_rate():
    torch.manual_seed(0)
    layer, features = AttentionDropout(0.75, 0.9), torch.rand(1, 2, 5, 5)
    dropped = [bool((layer(features) == 0).any()) for _ in range(400)]
    assert np.mean(dropped) == pytest.approx(0.75, abs=0.07)


def test_acol_hides_from_b_what_a_attends_to():
    torch.manual_seed(0)
    network = ACoLNetwork(
        threshold=0.6, stem=TinyStem(), num_classes=4, a3_channels=6, b_channels=4, dropout=0.0, branches=(),
        shared_weights=True, b2_input="a2", c_channels=4,
    )  # fmt: skip
    images, labels = torch.randn(3, 3, 32, 32), torch.tensor([2, 0, 3])
    seen = {}
    network.classifier_b.register_forward_pre_hook(lambda module, args: seen.update(features=args[0]))
    a, _ = network.forward_branches(images, labels)
    features = network.stem(images).a2
    for i, label in enumerate(labels.tolist()):
        attention = a.class_maps[i, label]
        normalised = (attention - attention.min()) / (attention.max() - attention.min())
        assert 0 < (normalised >= 0.6).sum() < normalised.numel()
        for y, x in np.ndindex(*normalised.shape):
            expected = features[i, :, y, x] * (normalised[y, x] < 0.6)
            assert torch.equal(seen["features"][i, :, y, x], expected)
    terms = acol_step(network, lambda output, labels: spg_loss(output, labels, []), images, labels)
    assert terms["total"].item() == pytest.approx((terms["cls"] + terms["cls_b"]).item())
    terms["total"].backward()
    assert all(p.grad is not None for p in network.classifier_b.parameters())
    output = network.eval()(images)
    for maps, own in ((output.class_maps, network.forward_branches(images, None)),):
        for name in range(4):
            each = [o.class_maps[0, name] for o in own]
            each = [(m - m.min()) / (m.max() - m.min()) for m in each]
            assert torch.allclose(maps[0, name], torch.maximum(*each))
