"""Compare predicted classes with the labels: what top-1, top-5 and five-box localization need to know."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from spg_lightning.localization.five_boxes import BOXED_CLASSES


class PredictedClasses(NamedTuple):
    """How predicted classes compare with the labels; None where too few classes are predicted to say.

    Attributes:
        top1, top5: whether the label is the most probable class, or among the five most probable.
        rank: of the label, 0 the most probable, `BOXED_CLASSES` or more if it is not among the first of them.
    """

    top1: Bool[Tensor, " B"] | None
    top5: Bool[Tensor, " B"] | None
    rank: Int[Tensor, " B"] | None

    @classmethod
    def of(cls, ranked: Int[Tensor, "B n"], labels: Int[Tensor, " B"], num_classes: int) -> "PredictedClasses":
        """Compare the n most probable of `num_classes` classes, the most probable first, with the labels."""
        right = ranked == labels[:, None]
        rank = torch.where(right.any(1), right.int().argmax(1), max(BOXED_CLASSES, right.shape[1]))
        has_five, has_three = (right.shape[1] >= min(count, num_classes) for count in (5, BOXED_CLASSES))
        return cls(right[:, 0], right[:, :5].any(1) if has_five else None, rank if has_three else None)
