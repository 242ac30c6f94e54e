"""Self-produced guidance (paper section 3.1, equation 1): score maps become ternary masks that supervise the branches.

Everything here is a pure function over the whole batch: no loop over images, no host synchronisation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from spg_lightning.errors import UserError
from spg_lightning.spg.maps import fused

FOREGROUND, BACKGROUND, IGNORED = 1, 0, -1
MIN_FOREGROUND = 30  # pixels; both public implementations
FALLBACK_FRACTION = 0.7  # of the map's maximum; both public implementations

Map = Float[Tensor, "B 1 Y X"]
Mask = Int8[Tensor, "B 1 Y X"]


class ThresholdPair(NamedTuple):
    """delta_h and delta_l of one mask: above `high` is foreground, below `low` background, between them ignored."""

    high: float
    low: float


@dataclass(frozen=True)
class Thresholds:
    """The three pairs of thresholds, named by the branch that their mask supervises.

    Raises:
        UserError: a band outside [0, 1], or low >= high.
    """

    b2: ThresholdPair
    b1: ThresholdPair
    c: ThresholdPair

    def __post_init__(self) -> None:
        for name in ("b2", "b1", "c"):
            high, low = getattr(self, name)
            if not 0 <= low < high <= 1:
                raise UserError(
                    f"thresholds.{name}: low={low:g} and high={high:g}; both must lie in [0, 1] with low below high"
                )

    @classmethod
    def of(cls, given: "Thresholds | Mapping[str, Mapping[str, float]] | Sequence[Sequence[float]]") -> "Thresholds":
        """Accept the object itself, its config (b2, b1, c -> high, low), or three (high, low) pairs for B2, B1, C."""
        if isinstance(given, Thresholds):
            return given
        if isinstance(given, Mapping):
            return cls(**{name: ThresholdPair(given[name]["high"], given[name]["low"]) for name in ("b2", "b1", "c")})
        b2, b1, c = given
        return cls(b2=ThresholdPair(*b2), b1=ThresholdPair(*b1), c=ThresholdPair(*c))


def ternary_mask(score_map: Map, pair: ThresholdPair) -> Mask:
    """Return FOREGROUND where the map is above `pair.high`, BACKGROUND below `pair.low`, IGNORED elsewhere.

    If fewer than 30 pixels of an image are foreground, its high threshold becomes 0.7 * its maximum. If that is below
    `pair.low`, background wins.

    Deviation: in the authors' code a lowered threshold also applies to the rest of the batch; here only to its image.

    Args:
        score_map: (B, 1, Y, X) in [0, 1]; no gradient flows through the mask.
        pair: delta_h and delta_l.
    """
    score_map = score_map.detach()
    few = (score_map > pair.high).sum(dim=(1, 2, 3), keepdim=True) < MIN_FOREGROUND
    fallback = FALLBACK_FRACTION * score_map.amax(dim=(1, 2, 3), keepdim=True)
    high = torch.where(few, fallback, pair.high)
    mask = torch.full_like(score_map, IGNORED, dtype=torch.int8)  # one byte per pixel
    return mask.masked_fill_(score_map > high, FOREGROUND).masked_fill_(score_map < pair.low, BACKGROUND)


def mask_fractions(mask: Mask) -> dict[str, Float[Tensor, ""]]:
    """Return the fractions of a batch's pixels that are foreground, background and ignored."""
    names = {"foreground": FOREGROUND, "background": BACKGROUND, "ignored": IGNORED}
    return {name: (mask == value).float().mean() for name, value in names.items()}


def cascade(attention: Map, b1: Map, b2: Map, thresholds: Thresholds) -> dict[str, Mask]:
    """Return the masks of the cascade: attention supervises B2, B2 supervises B1, both supervise C (paper section 3.2).

    Args:
        attention: the label's attention map in [0, 1].
        b1: B1's foreground probabilities in [0, 1].
        b2: B2's foreground probabilities at the same size, in [0, 1].
        thresholds: of the three masks.

    Returns:
        The mask that supervises each of b2, b1, c.
    """
    return {
        "b2": ternary_mask(attention, thresholds.b2),
        "b1": ternary_mask(b2, thresholds.b1),
        "c": ternary_mask(fused(b1, b2), thresholds.c),
    }


def direct(attention: Map, b1: Map, b2: Map, thresholds: Thresholds) -> dict[str, Mask]:
    """Return the masks of the ablation in section 4.3: attention supervises both B2 and B1. Arguments and C as in `cascade`."""
    return {
        "b2": ternary_mask(attention, thresholds.b2),
        "b1": ternary_mask(attention, thresholds.b1),
        "c": ternary_mask(fused(b1, b2), thresholds.c),
    }


def seeded(
    attention: Map, b1: Map, b2: Map, thresholds: Thresholds, branches: Sequence[str], seeds: Mask | None = None
) -> dict[str, Mask]:
    """Return seed masks for some branches, and for the others those of `cascade`.

    Deviation: in the paper all masks come from the network's own maps; seeds come from outside, see `Seeding`.

    Args:
        attention, b1, b2, thresholds: as in `cascade`.
        branches: that the seeds supervise, among b2, b1 and c.
        seeds: ternary masks of the images; None for images without seeds, such as those of a gallery: then the branches that
            seeds supervise have no mask.

    Raises:
        UserError: an unknown branch.
    """
    if unknown := set(branches) - {"b2", "b1", "c"}:
        raise UserError(f"guidance.branches={list(branches)}: {sorted(unknown)[0]} is not among b2, b1 and c")
    masks = cascade(attention, b1, b2, thresholds)
    for branch in branches:
        masks.pop(branch)
        if seeds is not None:
            masks[branch] = seeds
    return masks
