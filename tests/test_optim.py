"""The paper's learning rates (section 4.1; biases as in the authors' script), and AdamW over the same groups."""

import pytest
import torch

from spg_lightning import build_network, compose
from spg_lightning.optim import parameter_groups, sgd
from spg_lightning.utils.instantiate import instantiate_node
from tests.spg.test_network import network as tiny_network


@pytest.mark.parametrize("frozen", [False, True])
def test_new_layers_learn_ten_times_as_fast_and_biases_twice(frozen):
    network = build_network(compose("train", ["experiment=paper_cub", "stem.weights=none", "output_dir=unused"]), 5)
    if frozen:
        network.stem.freeze("a1")
    optimizer = sgd(network, 0.001, 10, 2, 0.9, 0.0005, True)
    rate_of = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    wanted = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            wanted[parameter] = 0.001 * (1 if name.startswith("stem.") else 10) * (2 if name.endswith(".bias") else 1)
    assert rate_of == pytest.approx(wanted, rel=1e-12)
    assert {round(rate, 9) for rate in wanted.values()} == {0.001, 0.002, 0.01, 0.02}
    held = [parameter for parameter in network.parameters() if not parameter.requires_grad]
    assert bool(held) is frozen
    assert not rate_of.keys() & set(held)


def test_adamw_has_the_same_groups_and_takes_its_own_step():
    """One step from zero moments: the decoupled decay, then a move by the rate against the gradient's sign."""
    network = tiny_network()
    node = compose("train", ["optimizer=adamw", "output_dir=unused"]).optimizer
    optimizer = instantiate_node(node)(network)
    assert type(optimizer) is torch.optim.AdamW
    names = {group["name"]: group["params"] for group in optimizer.param_groups}
    assert names == {group["name"]: group["params"] for group in parameter_groups(network, 1.0, 1.0, 1.0)}
    before = {name: [p.detach().clone() for p in parameters] for name, parameters in names.items()}
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    for group in optimizer.param_groups:
        rate = node.lr * (node.new_layers_lr_factor if group["name"].startswith("new") else 1)
        assert group["lr"] == pytest.approx(rate, rel=1e-12)
        for parameter, old in zip(group["params"], before[group["name"]], strict=True):
            moved = old * (1 - rate * node.weight_decay) - rate * parameter.grad.sign()
            torch.testing.assert_close(parameter.detach(), moved, rtol=0, atol=rate * 0.01)


def test_the_papers_config_says_so():
    chosen = compose("train", ["experiment=paper_cub", "output_dir=unused"])
    found = {
        key: chosen.optimizer[key]
        for key in ("lr", "new_layers_lr_factor", "bias_lr_factor", "momentum", "weight_decay")
    }
    assert found == {
        "lr": 0.001,
        "new_layers_lr_factor": 10,
        "bias_lr_factor": 2,
        "momentum": 0.9,
        "weight_decay": 0.0005,
    }
