"""Saliency measures of a score map, which need no threshold: pointing game and energy in the boxes."""

import numpy as np
from jaxtyping import Float, Int


def pointing_game(score_map: Float[np.ndarray, "Y X"], boxes: Int[np.ndarray, "n 4"]) -> float:
    """Return whether the maximum lies in a box (Zhang et al., ECCV 2016, without their tolerance), in [0, 1].

    Of several pixels with the maximum it is the fraction that does: the chance of a hit if one of them is drawn.

    Args:
        score_map: the map.
        boxes: x0 y0 x1 y1 in the map's pixels, corners inclusive.
    """
    is_highest = score_map == score_map.max()
    return float(is_highest[_inside(score_map.shape, boxes)].sum() / is_highest.sum())


def energy_in_box(score_map: Float[np.ndarray, "Y X"], boxes: Int[np.ndarray, "n 4"]) -> float:
    """Return the sum of the map over the union of the boxes, divided by that over the image (Wang et al., 2020), in [0, 1].

    0 for a map of zeros.

    Args:
        score_map: at least 0.
        boxes: see `pointing_game`.
    """
    total = score_map.sum(dtype=np.float64)
    inside = score_map[_inside(score_map.shape, boxes)].sum(dtype=np.float64)
    return float(inside / total) if total > 0 else 0.0


def _inside(shape: tuple[int, ...], boxes: Int[np.ndarray, "n 4"]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    for x0, y0, x1, y1 in boxes:
        inside[y0 : y1 + 1, x0 : x1 + 1] = True
    return inside
