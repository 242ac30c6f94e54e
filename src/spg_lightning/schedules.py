"""Learning rate schedules, as factors on every group's own rate, stepped after each optimizer step."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer, total_steps: int, steps_per_epoch: int) -> LambdaLR:
    """Keep the rates."""
    return LambdaLR(optimizer, lambda step: 1.0)


def step(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, every_epochs: int, factor: float) -> LambdaLR:
    """Multiply the rates by `factor` every `every_epochs` epochs."""
    return LambdaLR(optimizer, lambda step: factor ** (step // (every_epochs * steps_per_epoch)))


def warmup_cosine(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, warmup_share: float) -> LambdaLR:
    """Rise linearly over the first `warmup_share` of the steps, then fall to zero along a cosine."""
    warmup = max(round(warmup_share * total_steps), 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(total_steps - warmup, 1), 1.0)))

    return LambdaLR(optimizer, factor)
