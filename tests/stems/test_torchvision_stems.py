"""VGG16 and ResNet-50: taps, map sizes, weights. What they compute: tests/checkpoints/test_parity.py."""

import pytest
import torch
from torchvision.models import resnet50, vgg16

from spg_lightning.errors import UserError
from spg_lightning.stems import ResNet50Stem, VGG16Stem

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STEMS = {"vgg16": (VGG16Stem, 512, vgg16), "resnet50": (ResNet50Stem, 1024, resnet50)}


@pytest.mark.parametrize("name", STEMS)
@pytest.mark.parametrize("map_size", [28, 14])
def test_maps(name, map_size):
    kind, channels, _ = STEMS[name]
    features = kind(map_size, "none", MEAN, STD).eval()(torch.zeros(1, 3, 64, 64))
    side = map_size * 64 // 224
    assert [f.shape for f in features] == [(1, channels, side, side)] * 3
    with pytest.raises(UserError, match=r"stem\.map_size=7"):
        kind(7, "none", MEAN, STD)


@pytest.mark.parametrize("name", STEMS)
def test_torchvisions_weights_go_into_every_layer(name, tmp_path):
    kind, _, whole = STEMS[name]
    given = whole(weights=None).state_dict()
    torch.save(given, tmp_path / "weights.pth")
    stem = kind(28, str(tmp_path / "weights.pth"), MEAN, STD)
    for key, value in stem.state_dict().items():
        assert torch.equal(value, given[key]), key
    given.pop(next(iter(given)))
    torch.save(given, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="entries are missing"):
        kind(28, str(tmp_path / "weights.pth"), MEAN, STD)


def test_freezing_up_to_a1_leaves_the_rest():
    for kind, _, _ in STEMS.values():
        stem = kind(28, "none", MEAN, STD)
        stem.freeze("a1")
        frozen = {name for name, p in stem.named_parameters() if not p.requires_grad}
        stem(torch.rand(1, 3, 64, 64)).a1.sum()
        assert frozen
        assert frozen < {name for name, _ in stem.named_parameters()}
