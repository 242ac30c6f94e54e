"""Fast, and yet the definition: the plain step in experiments/speed and ours have the same losses."""

from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch

from spg_lightning import build_module, build_network, compose
from tests.conftest import ROOT

SMALL = ("stem.weights=none", "stem.a3_channels=16", "stem.b_channels=8", "stem.c_channels=8")


def plain_step():
    spec = spec_from_file_location("plain_step", ROOT / "experiments/speed/plain_step.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ours(*overrides, classes=5):
    torch.manual_seed(0)
    cfg = compose("train", [*overrides, "output_dir=unused"])
    return build_module(cfg, build_network(cfg, num_classes=classes)).train()


def largest_difference(overrides, dtype, size, batch, steps, classes=5):
    """Train both from the same weights on the same photos; return the largest difference of a loss of any step."""
    module, twin = (ours(*overrides, classes=classes).to(dtype) for _ in range(2))
    bands = module.loss.keywords["thresholds"]
    thresholds = {name: (bands[name]["high"], bands[name]["low"]) for name in ("b2", "b1", "c")}
    reference = plain_step().PlainStep(twin.network, twin.optimizer, thresholds)
    optimizers = module.optimizer(module.network), reference.optimizer
    # 50 epochs of 187 batches, CUB's: these are the first steps of the warm-up
    schedules = [module.schedule(optimizer, total_steps=9350, steps_per_epoch=187) for optimizer in optimizers]
    draw, worst = torch.Generator().manual_seed(1), 0.0
    for step in range(steps):
        images = torch.randint(256, (batch, 3, size, size), generator=draw, dtype=torch.uint8)
        labels = torch.randint(classes, (batch,), generator=draw)
        torch.manual_seed(step)  # of the dropout
        expected = reference(twin.network.stem.normalize(images), labels)
        torch.manual_seed(step)
        terms = module.step(module.network, module.loss, module._inputs(images), labels)
        optimizers[0].zero_grad()
        terms["total"].backward()
        optimizers[0].step()
        for schedule in schedules:
            schedule.step()
        assert terms.keys() == expected.keys()
        worst = max([worst, *(abs(terms[name].item() - value) for name, value in expected.items())])
    return worst


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_twenty_steps_have_the_losses_of_the_plain_step(dtype, limit):
    assert largest_difference(SMALL, dtype, size=64, batch=3, steps=20) < limit


@pytest.mark.slow
def test_twenty_steps_of_inception_v3_at_full_size():
    overrides = ("stem=inception_v3", "stem.weights=none")
    assert largest_difference(overrides, torch.float32, size=224, batch=8, steps=20, classes=200) < 1e-4
