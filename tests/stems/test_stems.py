"""Map sizes, taps and weights of the stems."""

import pytest
import torch
from torchvision.models import inception_v3
from torchvision.models.inception import InceptionA, InceptionC

from spg_lightning.errors import UserError
from spg_lightning.stems import EfficientNetLite0Stem, InceptionV3Stem
from spg_lightning.stems.efficientnet_lite0 import shipped_state_dict

HALF = (0.5, 0.5, 0.5)


def lite0(map_size=28, weights="none", a1_stage=3, a2_stage=6, max_dilation=4):
    return EfficientNetLite0Stem(map_size, weights, a1_stage, a2_stage, max_dilation, HALF, HALF)


@pytest.mark.parametrize(("map_size", "a1_stage"), [(28, 3), (14, 4)])
def test_lite0_maps(map_size, a1_stage):
    stem = lite0(map_size, a1_stage=a1_stage).eval()
    features = stem(torch.zeros(1, 3, 224, 224))
    for name in ("a1", "a2", "a2_penultimate"):
        assert getattr(features, name).shape == (1, getattr(stem.channels, name), map_size, map_size)


def test_lite0s_shipped_weights_fill_all_of_timms_network():
    import timm

    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    shipped = shipped_state_dict()
    assert {name: value.shape for name, value in shipped.items()} == {name: value.shape for name, value in own.items()}
    stem = lite0(weights="imagenet")
    assert torch.equal(stem.a1[0].weight, shipped["conv_stem.weight"])


@pytest.mark.parametrize("wrong", [{"map_size": 7}, {"map_size": 14, "a1_stage": 3}, {"a1_stage": 2}, {"a2_stage": 8}])
def test_lite0_refuses_what_it_cannot_give(wrong):
    with pytest.raises(UserError, match="stem"):
        lite0(**wrong)


@pytest.mark.parametrize("map_size", [28, 14])
def test_inception_maps(map_size):
    features = InceptionV3Stem(map_size, "none", HALF, HALF).eval()(torch.zeros(1, 3, 224, 224))
    assert features.a1.shape == (1, 288, map_size, map_size)
    assert features.a2.shape == features.a2_penultimate.shape == (1, 768, map_size, map_size)


def test_inception_takes_torchvisions_weights_from_a_file(tmp_path):
    whole = inception_v3(weights=None, init_weights=False)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    stem = InceptionV3Stem(28, str(tmp_path / "weights.pth"), HALF, HALF)
    for name, value in stem.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name


@pytest.mark.parametrize(
    ("name", "published"),
    [("Mixed_5b", InceptionA(192, 32)), ("Mixed_5d", InceptionA(288, 64)), ("Mixed_6c", InceptionC(768, 160))],
)
def test_inceptions_blocks_are_torchvisions(name, published):
    """The mean is taken after the 1 x 1 convolution: the same features, gradients and batch statistics."""
    ours = getattr(InceptionV3Stem(28, "none", HALF, HALF), name).double()
    published = published.double()
    published.load_state_dict(ours.state_dict())
    images = torch.randn(2, ours.branch1x1.conv.in_channels, 7, 9, dtype=torch.float64)
    seen = []
    for block in (ours, published):
        x = images.clone().requires_grad_()
        out = block(x)
        out.square().sum().backward()
        gradients = [parameter.grad for parameter in block.parameters()]
        seen.append([out, x.grad, *gradients, *block.state_dict().values()])
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_inception_off_line(monkeypatch, tmp_path, caplog):
    """Without network and file: one clear line, an error where the weights were asked for by name."""
    from urllib.error import URLError

    def no_network(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    with pytest.raises(UserError) as error:
        InceptionV3Stem(28, "imagenet", HALF, HALF)
    assert "inception_v3_google" in str(error.value)
    assert "stem.weights=" in str(error.value)
    assert "\n" not in str(error.value)
    InceptionV3Stem(28, "auto", HALF, HALF)
    assert "TRAINING FROM SCRATCH" in caplog.text


def test_wrong_weight_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth does not exist"):
        InceptionV3Stem(28, str(tmp_path / "nowhere.pth"), HALF, HALF)
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not torchvision's Inception_V3"):
        InceptionV3Stem(28, str(tmp_path / "other.pth"), HALF, HALF)
    with pytest.raises(UserError, match="tf_efficientnet_lite0"):
        lite0(weights=str(tmp_path / "other.pth"))


def test_normalisation_belongs_to_the_stem():
    stem = lite0()
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert stem.normalize(images)[0, 0, 0].tolist() == [-1, 1]


@pytest.mark.parametrize("max_dilation", [2, 4])
def test_lite0s_features_lie_over_what_they_show(max_dilation):
    """The centre of what features look at is their own place to within half a cell (as timm leaves them: 1.5 to 2 cells off)."""
    stem = lite0(weights="imagenet", max_dilation=max_dilation).eval()
    side = 256
    images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    features = stem(images).a2
    cell = side // features.shape[-1]
    middle = features.shape[-1] // 2
    features[:, :, middle, middle].square().sum().backward()
    seen = images.grad.square().sum((0, 1))
    place, pixels = (middle + 0.5) * cell - 0.5, torch.arange(float(side))
    offsets = [float(marginal @ pixels / seen.sum()) - place for marginal in (seen.sum(0), seen.sum(1))]
    assert abs(sum(offsets) / 2) < cell / 2, offsets
