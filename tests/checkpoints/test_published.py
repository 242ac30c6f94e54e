"""Strictness of the import: both wrappings, every key used, every parameter set. The numbers: test_parity.py."""

import pytest
import torch

from spg_lightning.checkpoints import LAYOUTS, import_published
from spg_lightning.checkpoints.published import count_classes
from spg_lightning.errors import UserError
from spg_lightning.spg.network import BRANCHES, SPGNetwork


@pytest.fixture(scope="module", params=LAYOUTS)
def published(request):
    """A layout with random weights under its own names."""
    ours = import_published_names(request.param)
    return request.param, {name: torch.randn(shape) * 0.01 for name, shape in ours.items()}


def import_published_names(layout):
    """Return what a published checkpoint of seven classes holds: names -> shapes."""
    how = LAYOUTS[layout]
    network = SPGNetwork(
        how.stem(28), 7, how.a3_channels, how.b_channels, how.dropout, BRANCHES, True, how.b2_input, how.c_channels
    )

    def theirs(name):
        found = next((k for k, ours in how.prefixes.items() if name.startswith(f"{ours}.")), None)
        return name.removeprefix("stem.") if found is None else found + name.removeprefix(how.prefixes[found])

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
    gone = next(iter(spoilt))
    spoilt.pop(gone)
    spoilt["optimizer.step"] = torch.zeros(1)
    with pytest.raises(UserError) as error:
        import_published(spoilt, layout, num_classes=8, map_size=28)
    text = str(error.value)
    assert f"1 missing: stem.{gone}" in text
    assert "1 not used: stem.optimizer.step" in text
    assert "2 of another shape: a4.bias (7,) instead of (8,)" in text
    assert "\n" not in text


@pytest.mark.parametrize("count", [5, 6])
def test_the_first_five_are_named(published, count):
    layout, state_dict = published
    with pytest.raises(UserError) as error:
        import_published({**state_dict, **{f"more.{k}": torch.zeros(1) for k in range(count)}}, layout, 7, map_size=28)
    named = ", ".join(f"stem.more.{k}" for k in range(5))
    assert str(error.value).endswith(f"{count} not used: {named}{', ...' if count > 5 else ''}")


def test_unknown_layouts_and_things_that_are_no_state_dict():
    with pytest.raises(UserError, match="Did you mean 'author/inception_v3'"):
        import_published({}, "authors/inception_v3", 7, 28)
    with pytest.raises(UserError, match="not a state dict"):
        import_published({"state_dict": [1, 2]}, "author/inception_v3", 7, 28)


def test_the_classes_of_a_checkpoint_are_counted():
    weights = {"module.other.bias": torch.zeros(3), "module.SPG_A4.bias": torch.zeros(7)}
    assert (
        count_classes(weights, "benchmark/resnet50")
        == count_classes({"state_dict": weights}, "benchmark/resnet50")
        == 7
    )
    with pytest.raises(UserError, match=r"does not fit layout author/inception_v3: it has no classier_1\.bias"):
        count_classes(weights, "author/inception_v3")
    with pytest.raises(UserError, match="not a state dict"):
        count_classes({}, "benchmark/resnet50")
