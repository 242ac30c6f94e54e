"""Strictness of the import: both wrappings, every key used, every parameter set. The numbers: test_parity.py."""

import pytest
import torch

from spg_lightning.checkpoints import LAYOUTS, import_published
from spg_lightning.errors import UserError


@pytest.fixture(scope="module", params=LAYOUTS)
def published(request):
    """A layout with random weights under its own names."""
    ours = import_published_names(request.param)
    return request.param, {name: torch.randn(shape) * 0.01 for name, shape in ours.items()}


def import_published_names(layout):
    prefixes = {ours: theirs for theirs, ours in LAYOUTS[layout].prefixes.items()}
    from spg_lightning.spg import SPGNetwork

    how = LAYOUTS[layout]
    network = SPGNetwork(how.stem(28), 7, how.a3_channels, how.b_channels, 0.5, ("b1", "b2", "c"), True, "a2_previous")

    def theirs(name):
        head, _, tail = name.partition(".")
        return tail if head == "stem" else f"{prefixes[head]}.{tail}"

    return {theirs(n): v.shape for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}


def test_wrappings(published):
    layout, state_dict = published
    plain = import_published(state_dict, layout, num_classes=7, map_size=28)
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state_dict.items()}}
    for name, value in import_published(wrapped, layout, num_classes=7, map_size=14).state_dict().items():
        assert torch.equal(value, plain.state_dict()[name])
    assert not plain.training


def test_every_problem_is_listed(published):
    layout, state_dict = published
    spoilt = dict(state_dict)
    spoilt.pop("Mixed_5b.branch1x1.conv.weight")
    spoilt["optimizer.step"] = torch.zeros(1)
    with pytest.raises(UserError) as error:
        import_published(spoilt, layout, num_classes=8, map_size=28)
    text = str(error.value)
    assert "1 missing: stem.Mixed_5b.branch1x1.conv.weight" in text
    assert "1 not used: stem.optimizer.step" in text
    assert "2 of another shape: a4.bias (7,) instead of (8,)" in text
    assert "\n" not in text


def test_unknown_layouts_and_things_that_are_no_state_dict():
    with pytest.raises(UserError, match="Did you mean 'author/inception_v3'"):
        import_published({}, "authors/inception_v3", 7, 28)
    with pytest.raises(UserError, match="no state dict"):
        import_published({"state_dict": [1, 2]}, "author/inception_v3", 7, 28)
