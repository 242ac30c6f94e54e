"""Normalisations of score maps to [0, 1], one class each (compared in Kim et al., ICCV 2021).

All take maps (B, 1, Y, X) of any range, one an image, and treat each alone. A constant map becomes 0.
"""

import torch
from torch import Tensor

from spg_lightning.errors import UserError
from spg_lightning.spg.maps import Map, min_max


class MinMax:
    """(F - min F) / (max F - min F): the paper's, and the benchmark's."""

    def __call__(self, maps: Map) -> Map:
        """Return the maps in [0, 1]."""
        return min_max(maps)


class Max:
    """max(0, F) / max F: negative evidence is background."""

    def __call__(self, maps: Map) -> Map:
        """Return the maps in [0, 1]; a map without a positive value becomes 0."""
        positive = maps.clamp_min(0)
        return positive / _not_zero(positive.amax(dim=(2, 3), keepdim=True))


class Percentile:
    """Min-max between two percentiles, beyond which values are clipped: single extreme pixels do not set the range.

    Args:
        low, high: fractions of an image's pixels, 0 <= low < high <= 1.

    Raises:
        UserError: fractions out of their range.
    """

    def __init__(self, low: float, high: float) -> None:
        if not 0 <= low < high <= 1:
            raise UserError(f"normalize: percentiles low={low:g} and high={high:g}; choose 0 <= low < high <= 1")
        self.low, self.high = low, high

    def __call__(self, maps: Map) -> Map:
        """Return the maps in [0, 1]."""
        low, high = _order_statistic(maps, self.low), _order_statistic(maps, self.high)
        return ((maps - low) / _not_zero(high - low)).clamp(0, 1)


class PaS:
    """min(1, (F - min F) / P(F - min F)), P the percentile as a standard (Bae et al., ECCV 2020).

    Args:
        percentile: fraction of an image's pixels below the standard, in [0, 1]; 0.9 in the authors' experiments.

    Raises:
        UserError: a fraction out of its range.
    """

    def __init__(self, percentile: float) -> None:
        self.percentile = _checked(percentile, "pas")

    def __call__(self, maps: Map) -> Map:
        """Return the maps in [0, 1]."""
        shifted = maps - maps.amin(dim=(2, 3), keepdim=True)
        return (shifted / _not_zero(_order_statistic(shifted, self.percentile))).clamp_max(1)


class IVR:
    """max(0, F - P(F)) scaled by its maximum: inferior value removal (Kim et al., ICCV 2021).

    Args:
        percentile: fraction of an image's pixels that are removed, in [0, 1).

    Raises:
        UserError: a fraction out of its range.
    """

    def __init__(self, percentile: float) -> None:
        self.percentile = _checked(percentile, "ivr")

    def __call__(self, maps: Map) -> Map:
        """Return the maps in [0, 1]."""
        superior = (maps - _order_statistic(maps, self.percentile)).clamp_min(0)
        return superior / _not_zero(superior.amax(dim=(2, 3), keepdim=True))


def _order_statistic(maps: Map, fraction: float) -> Tensor:
    """Return each map's value with this fraction of its pixels below it, without interpolation, as (B, 1, 1, 1)."""
    values = maps.flatten(1)
    rank = min(int(values.shape[1] * fraction), values.shape[1] - 1)
    return values.kthvalue(rank + 1, dim=1).values[:, None, None, None]


def _not_zero(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(values.dtype).tiny)


def _checked(percentile: float, name: str) -> float:
    if not 0 <= percentile < 1:
        raise UserError(f"normalize.{name}.percentile={percentile:g}: choose a fraction, 0 or more and below 1")
    return percentile
