"""How well the raw map separates object pixels from the rest: pixel average precision (PxAP), and masks at a threshold."""

import numpy as np
from jaxtyping import Float, Int, Int8
from numba import njit


def histogram_edges(thresholds: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T3"]:
    """Return the benchmark's bin edges: the thresholds, then 1, 2 and 3."""
    return np.append(thresholds, [1.0, 2.0, 3.0])


@njit(cache=True, nogil=True)
def _count(score_map, mask, edges, counts):  # type: ignore[no-untyped-def]
    bins = edges.size - 1
    steps = edges.size - 3  # thresholds are equally spaced: guess the bin, then correct rounding
    for i in range(score_map.size):
        if mask[i] < 0:
            continue
        value = np.float64(score_map[i])
        k = min(int(value * steps), bins - 1)
        while k > 0 and edges[k] > value:
            k -= 1
        while k < bins - 1 and edges[k + 1] <= value:
            k += 1
        counts[mask[i], k] += 1


def pixel_histograms(
    score_map: Float[np.ndarray, "Y X"], mask: Int8[np.ndarray, "Y X"], edges: Float[np.ndarray, " E"]
) -> Int[np.ndarray, "2 bins"]:
    """Count the scores of background (row 0) and object pixels (row 1) by bin.

    Args:
        score_map: values in [0, 1].
        mask: 1 object, 0 background, -1 ignored: not counted.
        edges: see `histogram_edges`.
    """
    counts = np.zeros((2, edges.size - 1), np.int64)
    _count(np.ascontiguousarray(score_map).ravel(), np.ascontiguousarray(mask).ravel(), edges, counts)
    return counts


def pixel_average_precision(counts: Int[np.ndarray, "2 bins"]) -> float:
    """Return PxAP in percent: the sum of precision times the steps of recall, from the highest score down.

    NaN without any object pixel.
    """
    background, foreground = (row[::-1].cumsum() for row in counts)
    if foreground[-1] == 0:
        return float("nan")
    picked = foreground + background
    precision = np.divide(foreground, picked, out=np.zeros(len(picked)), where=picked > 0)
    recall = foreground / foreground[-1]
    return float(100 * (precision[1:] * np.diff(recall)).sum())


def mask_overlaps(
    counts: Int[np.ndarray, "2 bins"], num_thresholds: int
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """Return IoU and F1 in percent of the masks "map >= threshold", pooled over the pixels of all images, at each threshold.

    Args:
        counts: see `pixel_histograms`; some object pixels.
        num_thresholds: of the edges.
    """
    background, foreground = (row[::-1].cumsum()[::-1][:num_thresholds] for row in counts)  # at or above each edge
    union = background + counts[1].sum()
    return 100 * foreground / union, 200 * foreground / (union + foreground)
