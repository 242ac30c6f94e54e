"""Optimizers over the paper's parameter groups (section 4.1), and learning rate schedules."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from spg_lightning.spg.network import SPGNetwork


def parameter_groups(
    network: SPGNetwork, lr: float, new_layers_lr_factor: float, bias_lr_factor: float
) -> list[dict[str, Any]]:
    """Return up to four groups: weights and biases of the stem and of the new layers. Frozen parameters are left out.

    Args:
        network: the network to train.
        lr: learning rate of the stem's weights.
        new_layers_lr_factor: multiplies the rate of layers without pretrained weights (paper: 10).
        bias_lr_factor: multiplies the rate of biases (authors' script: 2).
    """
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((not name.startswith("stem."), name.endswith("bias")), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * (new_layers_lr_factor if new else 1) * (bias_lr_factor if bias else 1),
            "name": ("new" if new else "stem") + ("_bias" if bias else "_weight"),
        }
        for (new, bias), parameters in groups.items()
    ]


def sgd(
    network: SPGNetwork,
    lr: float,
    new_layers_lr_factor: float,
    bias_lr_factor: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> torch.optim.SGD:
    """Return `torch.optim.SGD` over the `parameter_groups`."""
    groups = parameter_groups(network, lr, new_layers_lr_factor, bias_lr_factor)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


def adamw(
    network: SPGNetwork,
    lr: float,
    new_layers_lr_factor: float,
    bias_lr_factor: float,
    betas: Sequence[float],
    eps: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """Return `torch.optim.AdamW` over the `parameter_groups`."""
    groups = parameter_groups(network, lr, new_layers_lr_factor, bias_lr_factor)
    return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)


def constant(optimizer: Optimizer, total_steps: int, steps_per_epoch: int) -> LambdaLR:
    """Keep the learning rates."""
    return LambdaLR(optimizer, lambda step: 1.0)


def step(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, every_epochs: int, factor: float) -> LambdaLR:
    """Multiply the learning rates by `factor` every `every_epochs` epochs."""
    return LambdaLR(optimizer, lambda step: factor ** (step // (every_epochs * steps_per_epoch)))


def warmup_cosine(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, warmup_fraction: float) -> LambdaLR:
    """Increase the rates linearly over the first `warmup_fraction` of the steps, then decay them to 0 along a cosine."""
    warmup = max(round(warmup_fraction * total_steps), 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(total_steps - warmup, 1), 1.0)))

    return LambdaLR(optimizer, factor)
