"""Test-time views against loops over single views, and BagCAMs against its definition."""

import pytest
import torch
from torch.nn import functional as F

from spg_lightning.errors import UserError
from spg_lightning.score_maps import SCORE_MAPS, MinMax, Views, processed, resolve
from spg_lightning.score_maps.context import score_map_context
from spg_lightning.spg.maps import min_max
from tests.score_maps.test_score_maps import CLASSES, images, network


@pytest.mark.parametrize("name", ["b2", "attention", "grad_cam", "b1+c"])
def test_the_mean_of_the_views_equals_a_loop(name):
    net, inputs = network("efficientnet_lite0"), images()
    maps = processed(resolve(name, net.branches), {"minmax": MinMax()}, {"none": None}, {"v": Views(True, [1, 0.5])})
    with score_map_context(net, inputs, maps) as context:
        ours = context.map(name, CLASSES)
    expected = []
    for side in (64, 32):
        for flip in (False, True):
            seen = inputs if side == 64 else F.interpolate(inputs, (side, side), mode="bilinear", antialias=True)
            seen = seen.flip(-1) if flip else seen
            with score_map_context(net, seen, resolve(name, net.branches)) as context:
                values = context._maps[name](context, CLASSES).detach()
            values = values.flip(-1) if flip else values
            expected.append(F.interpolate(values, (64, 64), mode="bilinear"))
    torch.testing.assert_close(ours, min_max(torch.stack(expected).mean(0)), atol=1e-4, rtol=0)


def test_a_flipped_image_has_the_flipped_map():
    net, inputs = network("efficientnet_lite0"), images()
    maps = processed(resolve("b2", net.branches), {"minmax": MinMax()}, {"none": None}, {"flip": Views(True, [1])})
    found = []
    for seen in (inputs, inputs.flip(-1)):
        with score_map_context(net, seen, maps) as context:
            found.append(context.map("b2", CLASSES))
    torch.testing.assert_close(found[0], found[1].flip(-1), atol=1e-5, rtol=0)


def test_all_maps_share_the_forwards_of_the_views():
    net, inputs = network("efficientnet_lite0"), images()
    views = {"none": None, "flip": Views(True, [1])}
    maps = processed(resolve(["b1", "b2"], net.branches), {"minmax": MinMax()}, {"none": None}, views)
    assert list(maps) == ["b1:none", "b1:flip", "b2:none", "b2:flip"]
    calls = []
    handle = net.stem.register_forward_hook(lambda *_: calls.append(1))
    with score_map_context(net, inputs, maps) as context:
        found = {name: context.map(name, CLASSES) for name in maps}
    handle.remove()
    assert len(calls) == 2
    assert not torch.equal(found["b1:none"], found["b1:flip"])


def test_scales_have_a_range():
    with pytest.raises(UserError, match=r"views: scales=\[9\]; choose numbers from 0.25 to 4"):
        Views(True, [9])


def test_bag_cams_equals_its_definition():
    """Sum over the classifiers of all regions, written as the double loop that the bag factors out."""
    net, inputs = network("vgg16"), images()
    with score_map_context(net, inputs, {"bag_cams": SCORE_MAPS["bag_cams"]}, "stem.features.22") as context:
        ours = context.map("bag_cams", CLASSES)[:, 0]
        gradient, features = context.feature_gradient(CLASSES).double(), context.features.double()
        logits = context.output.logits.gather(1, CLASSES[:, None])[:, 0].double().abs()
    for b in range(2):
        product = (gradient[b] / logits[b] * features[b]).flatten(1)  # channels, regions
        regions = product.shape[1]
        total = torch.zeros_like(product)
        for m in range(regions):
            total += product * (1 + product[:, m : m + 1]) / regions
        expected = total.relu().sum(0).view(1, 1, *features.shape[-2:]).float()
        expected = min_max(F.interpolate(expected, size=(64, 64), mode="bilinear", align_corners=False))[0, 0]
        assert expected.std() > 0.05
        torch.testing.assert_close(ours[b], expected, atol=1e-4, rtol=0)
