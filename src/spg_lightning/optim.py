"""Optimizers with the paper's parameter groups (section 4.1), and learning rate schedules."""

import math

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from spg_lightning.spg.network import SPGNetwork


def sgd(
    network: SPGNetwork,
    lr: float,
    new_layers_lr_factor: float,
    bias_lr_factor: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> torch.optim.SGD:
    """Return SGD over four groups: weights and biases of the stem and of the new layers.

    Args:
        network: parameters that are frozen are left out.
        lr: learning rate of the stem's weights.
        new_layers_lr_factor: how much faster the layers without pretrained weights learn (paper: 10).
        bias_lr_factor: how much faster biases learn (authors' script: 2).
        momentum, weight_decay, nesterov: of `torch.optim.SGD`.
    """
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((not name.startswith("stem."), name.endswith("bias")), []).append(parameter)
    return torch.optim.SGD(
        [
            {
                "params": parameters,
                "lr": lr * (new_layers_lr_factor if new else 1) * (bias_lr_factor if bias else 1),
                "name": ("new" if new else "stem") + ("_bias" if bias else "_weight"),
            }
            for (new, bias), parameters in groups.items()
        ],
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
    )


def constant(optimizer: Optimizer, total_steps: int, steps_per_epoch: int) -> LambdaLR:
    """Keep the rates."""
    return LambdaLR(optimizer, lambda step: 1.0)


def step(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, every_epochs: int, factor: float) -> LambdaLR:
    """Multiply the rates by `factor` every `every_epochs` epochs."""
    return LambdaLR(optimizer, lambda step: factor ** (step // (every_epochs * steps_per_epoch)))


def warmup_cosine(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, warmup_fraction: float) -> LambdaLR:
    """Rise linearly over the first `warmup_fraction` of the steps, then fall to zero along a cosine."""
    warmup = max(round(warmup_fraction * total_steps), 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(total_steps - warmup, 1), 1.0)))

    return LambdaLR(optimizer, factor)
