"""Top-5 localization with five boxes of the three most probable classes: the rows SPG* and ACoL* of the papers' tables.

Deviation: the SPG paper only says that the boxes come from predictions with high scores. This is the rule of Zhou et al. (CVPR
2016, section 3.2), whom both papers follow in localization: a tight and a loose box of the first and of the second class, and a
loose one of the third. They do not give the two thresholds either; here the pair with the most images right on val is taken.
"""

import numpy as np
from jaxtyping import Bool, Int

from spg_lightning.localization.threshold_scan import ThresholdScan, default_thresholds

THRESHOLDS = default_thresholds(50)  # a tenth of a percent matters less here, and pairs of 1000 would be a million
PAIRS = (len(THRESHOLDS), len(THRESHOLDS))  # tight, loose
BOXED_CLASSES = 3
TWO_BOXES, ONE_BOX = (0, 1), 2  # ranks of the classes with a tight and a loose box, and with a loose one alone


def five_box_hits(scan: ThresholdScan, rank: int) -> Bool[np.ndarray, "S S"]:
    """Return whether one of the five boxes is right at IoU 0.5, for each tight (rows) and loose (columns) threshold.

    Pairs whose tight threshold is below the loose one are never right.

    Args:
        scan: of the map of the image's label, with at least one ground-truth box.
        rank: of the label among the predicted classes, 0 the most probable.
    """
    right = scan.largest_iou[scan.levels(THRESHOLDS)] >= 0.5
    if rank in TWO_BOXES:
        hits = right[:, None] | right
    elif rank == ONE_BOX:
        hits = np.broadcast_to(right, (len(right), len(right)))
    else:
        hits = np.zeros((len(right), len(right)), bool)
    return np.tril(hits)


def best_pair(hits: Int[np.ndarray, "S S"]) -> tuple[int, int]:
    """Return the indices of the tight and the loose threshold with the most images right; of several, the most central."""
    pairs = np.argwhere((hits == hits.max()) & np.tril(np.ones(hits.shape, bool)))
    distance = np.square(pairs - pairs.mean(0)).sum(1)
    tight, loose = pairs[distance.argmin()]
    return int(tight), int(loose)
