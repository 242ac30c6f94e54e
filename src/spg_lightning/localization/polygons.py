"""From a mask to polygons, and back.

Coordinates are edges of pixels, as in COCO: the pixel in column x and row y covers [x, x + 1] by [y, y + 1]. A polygon is
x, y, x, y, ... without its first point again.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float

Polygon = list[float]
Ring = Float[np.ndarray, "n 2"]
MIN_IOU = 0.98  # of the polygons with the mask
FINEST = 0.25  # pixels that a simplified outline may leave the exact one; below that the exact one is taken


def polygons_of_mask(mask: Bool[np.ndarray, "Y X"], min_iou: float = MIN_IOU) -> list[Polygon]:
    """Return a polygon for each 8-connected component of a mask, with as few points as `min_iou` allows.

    A hole belongs to the polygon around it, joined by an edge there and back, as polygons cannot have holes.

    Args:
        mask: at the size of the image.
        min_iou: IoU of the polygons with the mask, at least.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    window = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    components = _trace(window)
    tolerance = max(0.01 * float(np.sqrt(window.sum())), 2 * FINEST)
    while tolerance > 0:
        rings = [_join(_simplify(ring, tolerance) for ring in component) for component in components]
        drawn = mask_of_polygons([ring.ravel().tolist() for ring in rings], (window.shape[1], window.shape[0]))
        if (drawn & window).sum() >= min_iou * (drawn | window).sum():
            break
        tolerance = tolerance / 2 if tolerance > FINEST else 0
    else:
        rings = [_join(component) for component in components]
    return [(ring + np.array([left, top])).ravel().tolist() for ring in rings]


def mask_of_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Bool[np.ndarray, "Y X"]:
    """Return the union of polygons as pixels.

    Args:
        polygons: of three points or more.
        size: width and height of the image.
    """
    from pycocotools.mask import decode, frPyObjects, merge

    if not polygons:
        return np.zeros((size[1], size[0]), dtype=bool)
    return np.asarray(decode(merge(frPyObjects([list(polygon) for polygon in polygons], size[1], size[0])))).astype(
        bool
    )


def join_polygons(polygons: Sequence[Sequence[float]]) -> Polygon:
    """Return one polygon for several, joined by edges there and back, for formats with one polygon an object."""
    joined: list[float] = _join(np.array(polygon).reshape(-1, 2) for polygon in polygons).ravel().tolist()
    return joined


def _trace(mask: Bool[np.ndarray, "y x"]) -> list[list[Ring]]:
    """Return the outlines of each component: the outer one, then those of its holes, which run in the other direction."""
    height, width = mask.shape
    # OpenCV's contours run through centres of pixels. On a grid with a pixel for each edge and each centre these are the edges
    grid = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    grid[1::2, 1::2] = mask
    contours, hierarchy = cv2.findContours(
        cv2.dilate(grid, np.ones((3, 3), np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    components: dict[int, list[Ring]] = {k: [] for k, parent in enumerate(hierarchy[0, :, 3]) if parent < 0}
    for k, contour in enumerate(contours):
        if len(contour) > 2:
            parent = int(hierarchy[0, k, 3])
            components[k if parent < 0 else parent].insert(0 if parent < 0 else 1, contour[:, 0] / 2)
    return list(components.values())


def _simplify(ring: Ring, tolerance: float) -> Ring:
    """Return a ring whose points leave the given one by `tolerance` pixels at most."""
    simple = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, closed=True)[:, 0].astype(np.float64)
    return simple if len(simple) > 2 else ring


def _join(rings: Iterable[Ring]) -> Ring:
    """Join rings at their nearest points."""
    first, *others = rings
    for other in others:
        distances = np.abs(first[:, None] - other[None]).sum(2)
        i, j = np.unravel_index(int(distances.argmin()), distances.shape)
        first = np.concatenate([first[: i + 1], other[j:], other[: j + 1], first[i:]])
    return first
