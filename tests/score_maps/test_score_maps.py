"""Score maps: SPG's own, and the CAM family against the pytorch-grad-cam package and against closed forms."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from spg_lightning.config.build import build_network
from spg_lightning.config.compose import compose
from spg_lightning.errors import UserError
from spg_lightning.score_maps import SCORE_MAPS, ScoreMap, resolve, supported
from spg_lightning.score_maps.context import score_map_context
from spg_lightning.score_maps.grad_cam_plus_plus import grad_cam_plus_plus
from spg_lightning.spg.maps import attention, min_max
from spg_lightning.spg.network import SPGNetwork
from tests.spg.test_losses import LABELS, output

SCALE = 1e5
CLASSES = torch.tensor([2, 0])
GRADIENTS = [name for name, score_map in SCORE_MAPS.items() if score_map.requires_grad]


def network(stem: str, *overrides: str, seed: int = 2) -> SPGNetwork:
    torch.manual_seed(seed)
    cells = [] if stem == "efficientnet_lite0" else ["stem.map_size=14"]
    cfg = compose("train", [f"stem={stem}", "stem.weights=none", "output_dir=unused", *cells, *overrides])
    net = build_network(cfg, 5).eval()
    with torch.no_grad():  # gradients far above the constants that keep the package's denominators from 0
        net.a4.weight *= SCALE
    return net


def named(*names: str) -> dict[str, ScoreMap]:
    return {name: SCORE_MAPS[name] for name in names}


def images(size: int = 64, count: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def maps(net: SPGNetwork, inputs: torch.Tensor, name: str, layer: str = "head_features") -> np.ndarray:
    with score_map_context(net, inputs, named(name), layer) as seen:
        return seen.map(name, CLASSES)[:, 0].numpy()


class Logits(nn.Module):
    """What pytorch-grad-cam wants: images to logits."""

    def __init__(self, net: SPGNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.net(inputs, ()).logits


def reference(package, net: SPGNetwork, inputs: torch.Tensor, layer: str) -> np.ndarray:
    with package(model=Logits(net), target_layers=[net.get_submodule(layer)]) as cam:
        return cam(input_tensor=inputs, targets=[ClassifierOutputTarget(int(k)) for k in CLASSES])


# the last layer, where gradients are constant over the map, and layers inside, where they are not
LAYERS = [
    ("vgg16", "head_features"), ("vgg16", "stem.features.22"), ("vgg16", "stem.features.29"),
    ("resnet50", "head_features"), ("resnet50", "stem.layer3.5"),
]  # fmt: skip


@pytest.mark.parametrize(("stem", "layer"), LAYERS)
@pytest.mark.parametrize(("name", "package"), [("grad_cam", GradCAM), ("layer_cam", LayerCAM)])
def test_the_cam_family_equals_an_independent_package(name, package, stem, layer):
    net, inputs = network(stem), images()
    ours, theirs = maps(net, inputs, name, layer), reference(package, net, inputs, layer)
    assert np.ptp(theirs, axis=(1, 2)).min() > 0.5, "a flat map would prove nothing"
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("stem", "layer"), LAYERS)
def test_grad_cam_plus_plus_equals_an_independent_package_where_its_constant_does_not_matter(stem, layer):
    net, inputs = network(stem).double(), images().double()
    ours, theirs = maps(net, inputs, "grad_cam_plus_plus", layer), reference(GradCAMPlusPlus, net, inputs, layer)
    assert np.ptp(theirs, axis=(1, 2)).min() > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_grad_cam_plus_plus_by_its_definition():
    features, gradient = images(6, seed=3).relu(), images(6, seed=4)
    weights = torch.zeros(2, 3)
    for b in range(2):
        for k in range(3):
            total = features[b, k].sum()
            for g in gradient[b, k].flatten():
                weights[b, k] += g**2 / (2 * g**2 + g**3 * total) * max(g, 0)
    expected = torch.stack([(weights[b, :, None, None] * features[b]).sum(0).relu() for b in range(2)])
    assert torch.allclose(grad_cam_plus_plus(features, gradient)[:, 0], expected, rtol=1e-4)


def test_score_cam_equals_an_independent_package():
    # a layer at the input's size: the packages upsample masks differently (align_corners)
    net, inputs = network("vgg16", "stem.map_size=28"), images(32)
    ours, theirs = (f(*a) for f, a in ((maps, (net, inputs, "score_cam", "stem.features.1")),
                                       (reference, (ScoreCAM, net, inputs, "stem.features.1"))))  # fmt: skip
    assert np.ptp(theirs, axis=(1, 2)).min() > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_behind_the_pooling_grad_cam_is_the_rectified_class_map():
    net, inputs = network("vgg16"), images()
    with torch.no_grad():
        net.a4.bias.zero_()
        low = net(inputs, ()).class_maps[torch.arange(2), CLASSES].relu()[:, None]
        expected = min_max(nn.functional.interpolate(low, inputs.shape[-2:], mode="bilinear"))[:, 0]
    np.testing.assert_allclose(maps(net, inputs, "grad_cam"), expected.numpy(), atol=1e-5)


def test_cam_is_attention_whatever_the_bias():
    net, inputs = network("vgg16"), images()
    before = maps(net, inputs, "cam")
    with torch.no_grad():
        net.a4.bias += torch.randn(5)
    np.testing.assert_allclose(maps(net, inputs, "cam"), before, atol=1e-5)
    np.testing.assert_allclose(maps(net, inputs, "attention"), before, atol=1e-5)


def test_input_gradient_by_finite_differences():
    net, inputs = network("vgg16").double(), images(32, 1).double()
    with score_map_context(net, inputs, named("input_gradient")) as seen:
        found = seen.map("input_gradient", torch.tensor([3]))[0, 0]
    scores, step = Logits(net), 1e-5
    pixels = [(3, 4), (10, 20), (31, 31), (16, 7)]
    slopes = []
    with torch.no_grad():
        for y, x in pixels:
            by_colour = []
            for colour in range(3):
                up, down = inputs.clone(), inputs.clone()
                up[0, colour, y, x] += step
                down[0, colour, y, x] -= step
                by_colour.append(abs(float(scores(up)[0, 3] - scores(down)[0, 3])) / (2 * step))
            slopes.append(max(by_colour))
    ours = np.array([float(found[pixel]) for pixel in pixels])
    np.testing.assert_allclose((ours - ours[0]) / (ours[1] - ours[0]), (np.array(slopes) - slopes[0]) / (slopes[1] - slopes[0]), rtol=1e-3)  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_classes_and_images_do_not_mix(name):
    net, inputs = network("efficientnet_lite0"), images()
    with score_map_context(net, inputs, named(name)) as seen:  # several classes from one forward
        by_class = [seen.map(name, torch.full((2,), k)) for k in range(5)]
    for k in range(5):
        for i in range(2):
            with score_map_context(net, inputs[i : i + 1], named(name)) as alone:
                assert torch.allclose(alone.map(name, torch.tensor([k]))[0], by_class[k][i], atol=1e-4)
    assert not torch.allclose(by_class[0], by_class[1], atol=1e-2)


@pytest.mark.parametrize("outside", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_a_context_leaves_the_network_unchanged(outside):
    net = network("efficientnet_lite0")
    net.stem.freeze("a1")
    before = [weight.requires_grad for weight in net.parameters()]
    with outside(), score_map_context(net, images(), named("attention", "grad_cam", "input_gradient")) as seen:
        assert all(seen.map(name, CLASSES).isfinite().all() for name in ("attention", "grad_cam", "input_gradient"))
        assert not seen.output.logits.requires_grad
    assert [weight.requires_grad for weight in net.parameters()] == before
    assert all(weight.grad is None for weight in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("method", ["spg", "acol", "adl"])
@pytest.mark.parametrize("name", SCORE_MAPS)
def test_every_map_of_every_network_spans_0_to_1_at_input_size(name, method):
    net = network("efficientnet_lite0", f"method={method}", "stem.a3_channels=8")
    if not set(SCORE_MAPS[name].branches) <= set(net.branches):
        assert name not in supported(net.branches)
        return
    with score_map_context(net, images(), named(name)) as seen:
        values = seen.map(name, CLASSES)
    assert values.shape == (2, 1, 64, 64)
    assert values.amin((1, 2, 3)).tolist() == [0, 0]
    # a map may be empty: no feature speaks for the class
    assert all(highest in (0, pytest.approx(1)) for highest in values.amax((1, 2, 3)).tolist())


def test_maps_of_one_context_are_independent():
    net, inputs = network("efficientnet_lite0", "stem.a3_channels=8"), images()
    names = ["score_cam", "input_gradient", "grad_cam", "layer_cam", "grad_cam_plus_plus", "attention"]
    with score_map_context(net, inputs, named(*names)) as seen:
        together = {(name, k): seen.map(name, torch.tensor([k, k])) for k in (0, 3) for name in names}
    for (name, k), values in together.items():
        with score_map_context(net, inputs, named(name)) as alone:
            assert torch.allclose(alone.map(name, torch.tensor([k, k])), values, atol=1e-4), (name, k)


def test_attention_is_the_labels_map_and_knows_no_offset():
    out = output()
    shifted = out._replace(class_maps=out.class_maps * 3 - 7)
    assert torch.allclose(attention(out, LABELS), attention(shifted, LABELS), atol=1e-5)
    other = attention(out, torch.tensor([1, 1, 1]))
    assert not torch.allclose(attention(out, LABELS), other)


def test_a_constant_map_becomes_zero():
    assert (min_max(torch.full((2, 1, 3, 3), 0.4)) == 0).all()


def test_only_maps_that_the_network_supports_are_offered():
    assert "attention" in supported(())
    assert "b1" not in supported(())
    assert list(resolve("auto", ())) == ["attention"]
    assert list(resolve("auto", ("b1", "b2"))) == ["attention", "fused", "b1", "b2"]
    assert list(resolve(["grad_cam", "b1", "grad_cam"], ("b1", "b2"))) == ["grad_cam", "b1"]
    with pytest.raises(UserError, match="score_map=c needs branches"):
        resolve("c", ("b1", "b2"))
    with pytest.raises(UserError, match="Did you mean 'attention'"):
        resolve("atention", ())
    with pytest.raises(UserError, match="name at least one"):
        resolve([], ())


def test_a_map_of_ones_own_is_resolved_by_its_name():
    class Center(ScoreMap):
        def __call__(self, context, classes):
            return torch.ones(len(classes), 1, *context.output.image_size)

    extra = {"center": Center()}
    assert resolve("center", (), extra) == extra
    assert list(resolve("auto", (), extra)) == ["attention", "center"]
    assert list(resolve(["center", "cam"], (), extra)) == ["center", "cam"]
    with pytest.raises(UserError, match="Did you mean 'center'"):
        resolve("centre", (), extra)
