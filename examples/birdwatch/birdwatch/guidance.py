"""A guidance of one's own: B1 learns from the mean of attention and B2."""

from torch import Tensor

from spg_lightning.spg import Thresholds, ternary_mask


def patient(attention: Tensor, b1: Tensor, b2: Tensor, thresholds: Thresholds) -> dict[str, Tensor]:
    """Return the mask that supervises each branch, from maps (B, 1, Y, X) in [0, 1]."""
    return {
        "b2": ternary_mask(attention, thresholds.b2),
        "b1": ternary_mask((attention + b2) / 2, thresholds.b1),
        "c": ternary_mask((b1 + b2) / 2, thresholds.c),
    }
