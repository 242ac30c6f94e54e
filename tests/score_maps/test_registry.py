"""Means of score maps, and every map with every normalisation and refinement."""

import pytest
import torch

from spg_lightning import UserError
from spg_lightning.score_maps import IVR, PAMR, MinMax, processed, resolve, score_map_context
from spg_lightning.spg.maps import min_max
from tests.score_maps.test_score_maps import network as build

BRANCHES = ("b1", "b2", "c")


@pytest.fixture(scope="module")
def network():
    return build("efficientnet_lite0")


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_a_mean_is_the_mean_of_its_normalised_maps(network, images):
    maps = resolve(["b1", "attention", "b1+attention", "grad_cam+b1"], BRANCHES)
    labels = torch.tensor([1, 0])
    with score_map_context(network, images, maps) as context:
        values = {name: context.map(name, labels) for name in maps}
    assert torch.allclose(values["b1+attention"], min_max((values["b1"] + values["attention"]) / 2), atol=1e-6)
    assert maps["b1+attention"].per_class
    assert maps["b1+attention"].branches == ("b1",)
    assert maps["grad_cam+b1"].requires_grad == "features"


def test_a_mean_of_unknown_maps():
    with pytest.raises(UserError, match=r"score_map=b9 does not exist; .*or a mean like attention\+"):
        resolve("b1+b9", BRANCHES)
    with pytest.raises(UserError, match="score_map=c needs branches this network lacks"):
        resolve("b1+c", ("b1", "b2"))


def test_every_map_with_every_processing(network, images):
    refine = PAMR(2, [1, 2], 0.1, side=16)
    maps = processed(
        resolve(["b1", "c"], BRANCHES), {"minmax": MinMax(), "ivr": IVR(0.5)}, {"none": None, "pamr": refine}
    )
    assert list(maps) == [
        f"{name}:{norm}:{kind}" for name in ("b1", "c") for norm in ("minmax", "ivr") for kind in ("none", "pamr")
    ]
    labels = torch.tensor([0, 1])
    with score_map_context(network, images, maps) as context:
        plain, cut, refined = (
            context.map(f"b1:{words}", labels) for words in ("minmax:none", "ivr:none", "minmax:pamr")
        )
        guide = refine.guide(context.rgb)
    assert torch.equal(refined, refine(plain, guide))
    assert torch.allclose(cut, IVR(0.5)(plain), atol=1e-5)
    assert list(processed(resolve("b1", BRANCHES), {"ivr": IVR(0.5)}, {"pamr": refine})) == ["b1"]
    assert resolve("b1", BRANCHES)["b1"].refinement is None, "the registered map stays as it is"
    with pytest.raises(UserError, match="name at least one of each"):
        processed(resolve("b1", BRANCHES), {}, {"none": None})
