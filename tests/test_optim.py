"""The paper's learning rates (section 4.1; biases as in the authors' script)."""

import pytest

from spg_lightning import build_network, compose
from spg_lightning.optim import sgd


@pytest.mark.parametrize("frozen", [False, True])
def test_new_layers_learn_ten_times_as_fast_and_biases_twice(frozen):
    network = build_network(compose("train", ["experiment=paper_cub", "stem.weights=none", "output_dir=unused"]), 5)
    if frozen:
        network.stem.freeze_a1()
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


def test_the_papers_config_says_so():
    chosen = compose("train", ["experiment=paper_cub", "output_dir=unused"])
    told = {
        key: chosen.optimizer[key]
        for key in ("lr", "new_layers_lr_factor", "bias_lr_factor", "momentum", "weight_decay")
    }
    assert told == {
        "lr": 0.001,
        "new_layers_lr_factor": 10,
        "bias_lr_factor": 2,
        "momentum": 0.9,
        "weight_decay": 0.0005,
    }
