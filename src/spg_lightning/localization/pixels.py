"""Pixel average precision (PxAP): how well the raw map separates object pixels from the rest."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit


def histogram_edges(thresholds: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T3"]:
    """Return the benchmark's bin edges: the thresholds, then 1, 2 and 3."""
    return np.append(thresholds, [1.0, 2.0, 3.0])


@njit(cache=True, nogil=True)
def _count(score_map, mask, ignored, edges, counts):  # type: ignore[no-untyped-def]
    bins = edges.size - 1
    steps = edges.size - 3  # thresholds are equally spaced: guess the bin, then correct rounding
    for i in range(score_map.size):
        if ignored[i]:
            continue
        value = np.float64(score_map[i])
        k = min(int(value * steps), bins - 1)
        while k > 0 and edges[k] > value:
            k -= 1
        while k < bins - 1 and edges[k + 1] <= value:
            k += 1
        counts[1 if mask[i] else 0, k] += 1


def pixel_histograms(
    score_map: Float[np.ndarray, "Y X"],
    mask: Bool[np.ndarray, "Y X"],
    edges: Float[np.ndarray, " E"],
    ignored: Bool[np.ndarray, "Y X"] | None = None,
) -> Int[np.ndarray, "2 bins"]:
    """Count the scores of background (row 0) and foreground pixels (row 1) by bin, without ignored pixels."""
    counts = np.zeros((2, edges.size - 1), np.int64)
    skip = np.zeros(mask.size, np.bool_) if ignored is None else ignored.ravel()
    _count(np.ascontiguousarray(score_map).ravel(), mask.ravel(), skip, edges, counts)
    return counts


def pixel_average_precision(counts: Int[np.ndarray, "2 bins"]) -> float:
    """Return PxAP in percent: the sum of precision times the steps of recall, from the highest score down.

    NaN where there is no foreground pixel at all.
    """
    background, foreground = (row[::-1].cumsum() for row in counts)
    if foreground[-1] == 0:
        return float("nan")
    picked = foreground + background
    precision = np.divide(foreground, picked, out=np.zeros(len(picked)), where=picked > 0)
    recall = foreground / foreground[-1]
    return float(100 * (precision[1:] * np.diff(recall)).sum())
