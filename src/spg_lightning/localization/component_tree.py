"""All threshold levels of a score map in one pass: for each, the best contour box against the ground truth.

A threshold t keeps the pixels above L = int(t * max) of the map as uint8, so that there are at most 256 different binary
images, L = 0 .. 255. Their connected components nest: as L falls, components appear, grow and merge. A union-find over the
pixels in falling order of value visits every component of every level once, when it *closes* (is about to change), and
knows then for which levels it stood. Holes nest the same way in rising order.

Definitions (those of the CVPR 2020 benchmark, which come from OpenCV's contours):

* foreground is 8-connected, background 4-connected; a background component that does not touch the border is a hole;
* every component and every hole has a contour. A component's box is its bounding box; a hole's contour runs through the
  foreground pixels around it, so that its box is one pixel larger on each side;
* "largest" is by the area of the polygon through the contour's pixel centres, inner contours never beat the one around
  them, and of two equal areas the one whose first pixel in reading order comes last wins;
* a box is x, y, x + w, y + h, the far corner clipped to the last pixel; no contour gives 0, 0, 0, 0;
* IoU counts pixels inclusively: a side from x0 to x1 is x1 - x0 + 1 long.

The polygon's area is additive: each 2 x 2 square of pixels adds 1/2 where three of its pixels are inside and 1 where all
four are, so that its two lowest pixels each carry 1/2. Contour areas ignore holes; filling the holes first (a flood from
the border in rising order) makes the sum exactly the outer contour's area.
"""

import numpy as np
from numba import njit

LEVELS = 256


@njit(cache=True, nogil=True)
def _order(values, falling):  # type: ignore[no-untyped-def]
    """Return pixel indices sorted by value (counting sort), in reading order within a value."""
    count = np.zeros(LEVELS + 1, np.int32)
    for i in range(values.size):
        count[values[i]] += 1
    start = np.zeros(LEVELS, np.int32)
    total = 0
    for k in range(LEVELS):
        level = LEVELS - 1 - k if falling else k
        start[level] = total
        total += count[level]
    order = np.empty(values.size, np.int32)
    for i in range(values.size):
        order[start[values[i]]] = i
        start[values[i]] += 1
    return order


@njit(cache=True, nogil=True)
def _find(parent, i):  # type: ignore[no-untyped-def]
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _best_iou(x0, y0, x1, y1, boxes):  # type: ignore[no-untyped-def]
    """Return the highest inclusive IoU of a box with any ground-truth box."""
    best = 0.0
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    for k in range(boxes.shape[0]):
        width = min(x1, boxes[k, 2]) - max(x0, boxes[k, 0]) + 1
        height = min(y1, boxes[k, 3]) - max(y0, boxes[k, 1]) + 1
        if width > 0 and height > 0:
            both = width * height
            true = (boxes[k, 2] - boxes[k, 0] + 1) * (boxes[k, 3] - boxes[k, 1] + 1)
            best = max(best, both / (area + true - both))
    return best


@njit(cache=True, nogil=True)
def _fill_holes(values, height, width):  # type: ignore[no-untyped-def]
    """Return the map with holes filled at every level: for each pixel the lowest level from which the border is reached.

    Buckets of pixels by level, 4-connected, from the border inwards.
    """
    filled = np.zeros(values.size, np.uint8)
    seen = np.zeros(values.size, np.bool_)
    bucket = np.full(LEVELS, -1, np.int32)
    after = np.empty(values.size, np.int32)
    for i in range(values.size):
        y, x = i // width, i % width
        if y == 0 or x == 0 or y == height - 1 or x == width - 1:
            seen[i] = True
            filled[i] = values[i]
            after[i] = bucket[values[i]]
            bucket[values[i]] = i
    for level in range(LEVELS):
        while bucket[level] >= 0:
            i = bucket[level]
            bucket[level] = after[i]
            y, x = i // width, i % width
            for side in range(4):
                if side == 0:
                    if x == 0:
                        continue
                    j = i - 1
                elif side == 1:
                    if x == width - 1:
                        continue
                    j = i + 1
                elif side == 2:
                    if y == 0:
                        continue
                    j = i - width
                else:
                    if y == height - 1:
                        continue
                    j = i + width
                if not seen[j]:
                    seen[j] = True
                    reached = max(values[j], np.uint8(level))
                    filled[j] = reached
                    after[j] = bucket[reached]
                    bucket[reached] = j
    return filled


@njit(cache=True, nogil=True)
def _half_areas(values, height, width):  # type: ignore[no-untyped-def]
    """Return for each pixel how many 2 x 2 squares it is one of the two lowest of."""
    halves = np.zeros(values.size, np.int32)
    for y in range(height - 1):
        for x in range(width - 1):
            a = y * width + x
            b, c, d = a + 1, a + width, a + width + 1
            # sort the two pairs, then the two lowest are the lower of the lows and the lower of the rest
            low1, high1 = (a, b) if values[a] <= values[b] else (b, a)
            low2, high2 = (c, d) if values[c] <= values[d] else (d, c)
            if values[low1] <= values[low2]:
                halves[low1] += 1
                halves[low2 if values[low2] <= values[high1] else high1] += 1
            else:
                halves[low2] += 1
                halves[low1 if values[low1] <= values[high2] else high2] += 1
    return halves


@njit(cache=True, nogil=True)
def _sweep_components(  # type: ignore[no-untyped-def]
    values, height, width, boxes, want_all, all_iou, want_largest, largest_area, largest_start, largest_box
):
    """Visit every 8-connected component of every level; raise `all_iou`, and the `largest_*` of the levels it stands at."""
    size = values.size
    order = _order(values, True)
    halves = _half_areas(values, height, width) if want_largest else np.zeros(1, np.int32)
    parent = np.full(size, -1, np.int32)
    rank = np.zeros(size, np.uint8)
    since = np.empty(size, np.int16)  # value at which the component last changed
    x0, y0 = np.empty(size, np.int16), np.empty(size, np.int16)
    x1, y1 = np.empty(size, np.int16), np.empty(size, np.int16)
    area = np.empty(size, np.int64)
    start = np.empty(size, np.int32)
    for k in range(size + 1):
        # the step after the last pixel closes what is left: the whole map, for the levels below its lowest value
        last = k == size
        i = order[0] if last else order[k]
        value = np.int16(0) if last else np.int16(values[i])
        y, x = i // width, i % width
        root = i
        if not last:
            parent[i] = i
            since[i] = value
            x0[i] = x1[i] = x
            y0[i] = y1[i] = y
            area[i] = halves[i] if want_largest else 0
            start[i] = i
        known = -1
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if last:
                    if dy != 0 or dx != 0:
                        continue
                    other = _find(parent, i)
                else:
                    if (dy == 0 and dx == 0) or y + dy < 0 or y + dy >= height or x + dx < 0 or x + dx >= width:
                        continue
                    j = i + dy * width + dx
                    if parent[j] < 0:
                        continue
                    other = _find(parent, j)
                    if other == known or other == root:  # noqa: SIM109 (numba compiles this to two comparisons)
                        continue
                if since[other] > value:
                    # `other` stood unchanged for the levels value .. since - 1: close it
                    far_x, far_y = min(x1[other] + 1, width - 1), min(y1[other] + 1, height - 1)
                    if want_all:
                        iou = _best_iou(x0[other], y0[other], far_x, far_y, boxes)
                        for level in range(value, since[other]):
                            all_iou[level] = max(all_iou[level], iou)
                    if want_largest:
                        for level in range(value, since[other]):
                            if area[other] > largest_area[level] or (
                                area[other] == largest_area[level] and start[other] > largest_start[level]
                            ):
                                largest_area[level] = area[other]
                                largest_start[level] = start[other]
                                largest_box[level, 0] = x0[other]
                                largest_box[level, 1] = y0[other]
                                largest_box[level, 2] = far_x
                                largest_box[level, 3] = far_y
                    since[other] = value
                if last:
                    continue
                into, gone = (root, other) if rank[root] > rank[other] else (other, root)
                if rank[into] == rank[gone]:
                    rank[into] += 1
                parent[gone] = into
                since[into] = value
                x0[into], y0[into] = min(x0[into], x0[gone]), min(y0[into], y0[gone])
                x1[into], y1[into] = max(x1[into], x1[gone]), max(y1[into], y1[gone])
                area[into] += area[gone]
                start[into] = min(start[into], start[gone])
                root = into
                known = root


@njit(cache=True, nogil=True)
def _sweep_holes(values, filled, height, width, boxes, all_iou):  # type: ignore[no-untyped-def]
    """Visit every hole of every level and raise `all_iou`.

    A pixel lies in a hole at level L where values <= L < filled, and all pixels of one hole have the same `filled`.
    """
    order = _order(values, False)
    parent = np.full(values.size, -1, np.int32)
    since = np.empty(values.size, np.int16)
    x0, y0 = np.empty(values.size, np.int16), np.empty(values.size, np.int16)
    x1, y1 = np.empty(values.size, np.int16), np.empty(values.size, np.int16)
    for k in range(values.size):
        i = order[k]
        if filled[i] == values[i]:
            continue
        value = np.int16(values[i])
        y, x = i // width, i % width
        parent[i] = i
        since[i] = value
        x0[i] = x1[i] = x
        y0[i] = y1[i] = y
        root = i
        for side in range(4):
            # a pixel in a hole is never on the border, so that its neighbours exist
            j = i - 1 if side == 0 else i + 1 if side == 1 else i - width if side == 2 else i + width
            if parent[j] < 0:
                continue
            other = _find(parent, j)
            if other == root:
                continue
            # a neighbour that has already joined the outside ends before this value
            stood = min(value, np.int16(filled[other]))
            if stood > since[other]:
                iou = _best_iou(
                    x0[other] - 1, y0[other] - 1, min(x1[other] + 2, width - 1), min(y1[other] + 2, height - 1), boxes
                )
                for level in range(since[other], stood):
                    all_iou[level] = max(all_iou[level], iou)
            since[other] = value
            if filled[other] <= value:
                continue
            parent[other] = root
            x0[root], y0[root] = min(x0[root], x0[other]), min(y0[root], y0[other])
            x1[root], y1[root] = max(x1[root], x1[other]), max(y1[root], y1[other])
    for i in range(values.size):
        if parent[i] == i and filled[i] > since[i]:
            iou = _best_iou(x0[i] - 1, y0[i] - 1, min(x1[i] + 2, width - 1), min(y1[i] + 2, height - 1), boxes)
            for level in range(since[i], np.int16(filled[i])):
                all_iou[level] = max(all_iou[level], iou)


@njit(cache=True, nogil=True)
def scan_levels(image, boxes):  # type: ignore[no-untyped-def]
    """Return what every level of a map gives.

    Args:
        image: (Y, X) uint8, C-contiguous.
        boxes: (n, 4) int64 ground truth, x0 y0 x1 y1 in the map's pixels; n may be 0.

    Returns:
        largest_box: (256, 4) int64, the box of the largest contour at each level; 0 0 0 0 where nothing is above it.
        largest_iou: (256,) float64, its best IoU with any ground-truth box.
        all_iou: (256,) float64, the best IoU of any contour with any ground-truth box.
    """
    height, width = image.shape
    values = image.ravel()
    filled = _fill_holes(values, height, width)
    has_holes = False
    top = np.uint8(0)
    for i in range(values.size):
        has_holes = has_holes or filled[i] != values[i]
        top = max(top, values[i])
    all_iou = np.full(LEVELS, -1.0)
    area = np.full(LEVELS, -1, np.int64)
    start = np.full(LEVELS, -1, np.int32)
    largest_box = np.zeros((LEVELS, 4), np.int64)
    _sweep_components(filled, height, width, boxes, not has_holes, all_iou, True, area, start, largest_box)
    if has_holes:
        _sweep_components(values, height, width, boxes, True, all_iou, False, area, start, largest_box)
        _sweep_holes(values, filled, height, width, boxes, all_iou)
    largest_iou = np.zeros(LEVELS)
    for level in range(LEVELS):
        largest_iou[level] = _best_iou(
            largest_box[level, 0], largest_box[level, 1], largest_box[level, 2], largest_box[level, 3], boxes
        )
        if all_iou[level] < 0:  # nothing above this level: the box 0 0 0 0
            all_iou[level] = largest_iou[level]
    return largest_box, largest_iou, all_iou
