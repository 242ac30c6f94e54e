"""timm's models as stems: one of each family gives maps and learns; mistakes get one line."""

import pytest
import timm
import torch

from spg_lightning.errors import UserError
from spg_lightning.spg import SPGNetwork, spg_loss
from spg_lightning.spg.network import BRANCHES
from spg_lightning.stems import TimmStem

# family -> model, map side of a 96 x 96 image
FAMILIES = {
    "residual": ("resnet18", 12),
    "modern convolutional": ("convnext_atto", 12),
    "mobile": ("mobilenetv3_small_050", 12),
    "searched": ("regnety_002", 12),
    "densely connected, keeps its strides": ("densenet121", 12),
    "plain, keeps its strides": ("vgg11_bn", 12),
    "transformer": ("vit_tiny_patch16_224", 6),
    "windowed transformer, channels last": ("swin_tiny_patch4_window7_224", 12),
    "pyramid transformer": ("pvt_v2_b0", 12),
    "convolutions and attention": ("coatnet_nano_rw_224", 12),
    "mixer": ("mixer_s32_224", 3),
}


def timm_stem(model, weights="none", a1_level=None, a2_level=None):
    return TimmStem(model, weights, 96, a1_level, a2_level)


THRESHOLDS = [(0.7, 0.1), (0.5, 0.05), (0.7, 0.1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_trains_two_steps_and_gives_maps(family):
    model, side = FAMILIES[family]
    torch.manual_seed(0)
    stem = timm_stem(model)
    network = SPGNetwork(stem, 3, 16, 8, 0.0, BRANCHES, True, "a2", 8)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = torch.randn(2, 3, 96, 96), torch.tensor([0, 2])
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for _ in range(2):
        output = network(images)
        assert output.class_maps.shape == (2, 3, side, side)
        assert output.b1.shape == output.b2.shape == output.c.shape == (2, 1, side, side)
        loss = spg_loss(output, labels, THRESHOLDS)["total"]
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    still = [name for name, p in network.named_parameters() if torch.equal(p, before[name])]
    assert len(still) < 0.2 * len(before), still  # nothing hangs loose (biases before a normalisation do not move)
    network.eval()
    assert network(images).logits.shape == (2, 3)


def test_taps_can_be_chosen():
    stem = timm_stem("resnet18", a1_level=1, a2_level=3)
    assert stem.channels == (64, 256, 256)
    assert stem(torch.randn(1, 3, 96, 96)).a1.shape == (1, 64, 24, 24)
    blocks = timm_stem("vit_tiny_patch16_224", a1_level=2, a2_level=9)
    assert len(blocks.backbone.model.blocks) == 10  # what lies behind A2 is left out


def test_normalisation_is_the_models(tmp_path):
    assert timm_stem("mixer_s32_224").mean == (0.5, 0.5, 0.5)
    whole = timm.create_model("resnet18")
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    stem = timm_stem("resnet18", str(tmp_path / "whole.pth"))
    assert stem.mean == (0.485, 0.456, 0.406)
    assert torch.equal(stem.backbone.conv1.weight, whole.conv1.weight)
    assert torch.equal(stem.backbone.layer3[1].conv2.weight, whole.layer3[1].conv2.weight)


def test_weights_of_a_transformer_from_a_file(tmp_path):
    whole = timm.create_model("vit_tiny_patch16_224", img_size=96)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    stem = timm_stem("vit_tiny_patch16_224", str(tmp_path / "whole.pth"))
    assert torch.equal(stem.backbone.model.blocks[3].mlp.fc1.weight, whole.blocks[3].mlp.fc1.weight)


@pytest.mark.parametrize(
    ("model", "more", "told"),
    [
        ("resnet81", {}, "stem.name=resnet81 is not a model of timm"),
        ("resnet18", {"a1_level": 9}, "stem.a1_level=9 does not exist: resnet18 has 0 (stride 2)"),
        ("resnet18", {"a1_level": 3, "a2_level": 2}, "has to precede"),
        ("resnet18", {"weights": "nowhere.pth"}, "nowhere.pth does not exist"),
    ],
)
def test_mistakes(model, more, told):
    with pytest.raises(UserError) as error:
        timm_stem(model, **more)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_another_model(tmp_path):
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="not a state dict of timm's vgg11_bn"):
        timm_stem("vgg11_bn", str(tmp_path / "other.pth"))
