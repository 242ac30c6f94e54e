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

Three sweeps: the *holes* of every level, which also gives the map with its holes filled; the components of the filled map,
which are all those that are in no hole, with their areas; and the *islands*, components inside holes, of which only the
pixels between the first and the last hole pixel of each row have to be looked at.

The polygon's area is additive: in each 2 x 2 square of pixels the third that comes in adds 1/2, and so does the fourth.
Contour areas ignore holes, and in the filled map there are none.

What makes it fast: components are numbered, and the data of one lie in a row of `nodes`. A smooth map has few components,
so that these rows stay in the first cache, and most pixels meet one component only. Maps are padded by one pixel, so that
no neighbour has to be checked for existence. Casts to unsigned types spare checks for negative indices.
"""

import numpy as np
from numba import njit

LEVELS = 256
UNASSIGNED, LAST = np.uint32(0), np.uint32(2**32 - 1)  # no component yet; what NOBODY - 1 wraps round to
OUTSIDE = np.uint32(1)  # a component that swallows what it meets and is never reported
# columns of `nodes`. SINCE: the value at which the component last changed. AREA: in half pixels; of holes: in pixels.
# START: its first pixel in reading order. INTO: what a hole was merged into. FILLED: the value from which a hole is open
PARENT, SINCE, X0, Y0, X1, Y1, AREA, START = range(8)
INTO, FILLED = START, 8
COLUMNS = 9
INFINITE = np.int32(2**30)


@njit(cache=True, nogil=True)
def _rising(values, width, first, last):  # type: ignore[no-untyped-def]
    """Return the pixels first[y] .. last[y] of each row as y * 65536 + x, sorted by value, then in reading order."""
    start = np.zeros(LEVELS + 1, np.int32)
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            start[np.int64(values[y * width + x]) + 1] += 1
    for level in range(LEVELS):
        start[level + 1] += start[level]
    order = np.empty(start[LEVELS], np.uint32)
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            value = values[y * width + x]
            order[start[value]] = (y << 16) + x
            start[value] += 1
    return order


@njit(cache=True, nogil=True)
def _area_increments(values, height, width):  # type: ignore[no-untyped-def]
    """Return how many half pixels of polygon area each pixel brings when it comes in, in falling order.

    Of equal values the later in reading order come first, as in the sweep.
    """
    out = np.empty((height, width), np.uint8)
    above, here, below = np.full((3, width + 2), -1, np.int16)
    for x in range(width):
        below[x + 1] = values[x]
    for y in range(height):
        above, here, below = here, below, above
        below[:] = -1
        if y + 1 < height:
            for x in range(width):
                below[x + 1] = values[(y + 1) * width + x]
        row = out[y]
        for x in range(width):
            me = here[x + 1]
            # which neighbours are in before this pixel
            a, b, c = np.int16(above[x] > me), np.int16(above[x + 1] > me), np.int16(above[x + 2] > me)
            d, e = np.int16(here[x] > me), np.int16(here[x + 2] >= me)
            f, g, h = np.int16(below[x] >= me), np.int16(below[x + 1] >= me), np.int16(below[x + 2] >= me)
            row[x] = (
                np.int16(a + b + d >= 2)
                + np.int16(b + c + e >= 2)
                + np.int16(d + f + g >= 2)
                + np.int16(e + g + h >= 2)
            )
    return out.ravel()


@njit(cache=True, nogil=True)
def _find(nodes, i):  # type: ignore[no-untyped-def]
    parent = np.uint32(nodes[i, PARENT])
    while parent != i:
        above = np.uint32(nodes[parent, PARENT])
        nodes[i, PARENT] = above
        i, parent = above, np.uint32(nodes[above, PARENT])
    return i


@njit(cache=True, nogil=True)
def _create(nodes, number, value, y, x, area, start):  # type: ignore[no-untyped-def]
    nodes[number, PARENT], nodes[number, SINCE] = number, value
    nodes[number, X0], nodes[number, Y0], nodes[number, X1], nodes[number, Y1] = x, y, x, y
    nodes[number, AREA], nodes[number, START], nodes[number, FILLED] = area, start, -1


@njit(cache=True, nogil=True)
def _extend(nodes, root, y, x):  # type: ignore[no-untyped-def]
    # hardly ever true once a component has some size: cheaper than storing the minimum each time
    if x < nodes[root, X0]:
        nodes[root, X0] = x
    if x > nodes[root, X1]:
        nodes[root, X1] = x
    if y < nodes[root, Y0]:
        nodes[root, Y0] = y
    if y > nodes[root, Y1]:
        nodes[root, Y1] = y


@njit(cache=True, nogil=True)
def _merge(nodes, into, gone):  # type: ignore[no-untyped-def]
    nodes[gone, PARENT] = into
    nodes[into, X0], nodes[into, Y0] = min(nodes[into, X0], nodes[gone, X0]), min(nodes[into, Y0], nodes[gone, Y0])
    nodes[into, X1], nodes[into, Y1] = max(nodes[into, X1], nodes[gone, X1]), max(nodes[into, Y1], nodes[gone, Y1])
    nodes[into, AREA] += nodes[gone, AREA]


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
def _close_hole(nodes, hole, value, height, width, boxes, all_iou):  # type: ignore[no-untyped-def]
    """Raise `all_iou` for the levels since .. value - 1, which a hole stood at unchanged."""
    x0, y0 = np.int64(nodes[hole, X0]) - 1, np.int64(nodes[hole, Y0]) - 1
    x1, y1 = min(np.int64(nodes[hole, X1]) + 2, width - 1), min(np.int64(nodes[hole, Y1]) + 2, height - 1)
    iou = _best_iou(x0, y0, x1, y1, boxes)
    for level in range(nodes[hole, SINCE], value):
        all_iou[level] = max(all_iou[level], iou)
    nodes[hole, SINCE] = value


@njit(cache=True, nogil=True)
def _sweep_holes(values, order, height, width, boxes, all_iou, filled, first, last):  # type: ignore[no-untyped-def]
    """Visit every hole of every level, in rising order; raise `all_iou`, write the map with its holes filled.

    The outside holds the padding from the beginning; a hole that meets it is open from there on. `first` and `last` get
    the first and last hole pixel of each row. Returns whether there are holes.
    """
    across, stride = np.int64(np.uint16(width)), np.int64(np.uint16(width + 2))
    component = np.full((height + 2) * stride, OUTSIDE, np.uint32)
    for row in range(height):
        component[(row + 1) * stride + 1 : (row + 1) * stride + 1 + across] = UNASSIGNED
    nodes = np.empty((values.size // 2 + 3, COLUMNS), np.int32)
    _create(nodes, OUTSIDE, INFINITE, 0, 0, INFINITE, 0)
    count = np.uint32(OUTSIDE + 1)
    any_hole = False
    for k in range(order.size):
        y, x = np.int64(order[k] >> 16), np.int64(order[k] & 65535)
        value = np.int32(values[y * across + x])
        i = y * stride + x + 1  # of the neighbour above
        n0, n1, n2, n3 = component[i], component[i + stride - 1], component[i + stride + 1], component[i + 2 * stride]
        high = max(max(n0, n1), max(n2, n3))
        low = min(min(np.uint32(n0 - 1), np.uint32(n1 - 1)), min(np.uint32(n2 - 1), np.uint32(n3 - 1)))
        if high == UNASSIGNED:
            root = count
            count = np.uint32(count + 1)
            _create(nodes, root, value, y, x, 1, 0)
        else:
            root = _find(nodes, high)
            if nodes[root, SINCE] < value:
                any_hole = True
                _close_hole(nodes, root, value, height, across, boxes, all_iou)
            if low != np.uint32(high - 1):
                for number in (n0, n1, n2, n3):
                    if number == UNASSIGNED or number == high:  # noqa: SIM109 (numba compiles this to two comparisons)
                        continue
                    other = _find(nodes, number)
                    if other == root:
                        continue
                    if nodes[other, SINCE] < value:
                        any_hole = True
                        _close_hole(nodes, other, value, height, across, boxes, all_iou)
                    if nodes[other, AREA] > nodes[root, AREA]:
                        root, other = other, root
                    if root == OUTSIDE:
                        nodes[other, PARENT], nodes[other, FILLED] = OUTSIDE, value
                    else:
                        _merge(nodes, root, other)
                        nodes[other, INTO] = root
            if root != OUTSIDE:
                _extend(nodes, root, y, x)
                nodes[root, AREA] += 1
        component[i + stride] = root
    if not any_hole:
        return False
    for row in range(height):
        first[row], last[row] = across, -1
        for column in range(across):
            place = row * across + column
            filled[place] = values[place]
            number = component[(row + 1) * stride + column + 1]
            if number != OUTSIDE:
                while nodes[number, FILLED] < 0:
                    number = np.uint32(nodes[number, INTO])
                if nodes[number, FILLED] > values[place]:
                    filled[place] = nodes[number, FILLED]
                    first[row], last[row] = min(first[row], column), column
    return True


@njit(cache=True, nogil=True)
def _close(nodes, other, value, height, width, boxes, all_iou, want_largest, largest):  # type: ignore[no-untyped-def]
    """Raise `all_iou` and `largest` for the levels value .. since - 1, which a component stood at unchanged."""
    x0, y0 = np.int64(nodes[other, X0]), np.int64(nodes[other, Y0])
    x1, y1 = min(np.int64(nodes[other, X1]) + 1, width - 1), min(np.int64(nodes[other, Y1]) + 1, height - 1)
    iou = _best_iou(x0, y0, x1, y1, boxes)
    area, start = nodes[other, AREA], nodes[other, START]
    for level in range(value, nodes[other, SINCE]):
        all_iou[level] = max(all_iou[level], iou)
        if want_largest and (area > largest[level, 0] or (area == largest[level, 0] and start > largest[level, 1])):
            largest[level, 0], largest[level, 1] = area, start
            largest[level, 2], largest[level, 3], largest[level, 4], largest[level, 5] = x0, y0, x1, y1
    nodes[other, SINCE] = value


@njit(cache=True, nogil=True)
def _sweep_components(  # type: ignore[no-untyped-def]
    values, order, component, halves, height, width, boxes, all_iou, want_largest, largest
):
    """Visit every component of every level, in falling order; raise `all_iou`, and `largest` where it is wanted.

    Args:
        component: of each padded pixel; NOBODY, or OUTSIDE for what is not in `order`: what meets it is not reported.
        halves: the area that each pixel brings.
    """
    across, stride = np.int64(np.uint16(width)), np.int64(np.uint16(width + 2))
    nodes = np.empty((order.size // 4 + height + width + 3, COLUMNS), np.int32)
    _create(nodes, OUTSIDE, -1, 0, 0, INFINITE, 0)
    count = np.uint32(OUTSIDE + 1)
    root = OUTSIDE
    for k in range(order.size):
        packed = order[order.size - 1 - k]
        y, x = np.int64(packed >> 16), np.int64(packed & 65535)
        place = y * across + x
        value = np.int32(values[place])
        i = y * stride + x  # of the neighbour above and left
        n0, n1, n2 = component[i], component[i + 1], component[i + 2]
        n3, n4 = component[i + stride], component[i + stride + 2]
        n5, n6, n7 = component[i + 2 * stride], component[i + 2 * stride + 1], component[i + 2 * stride + 2]
        high = max(max(max(n0, n1), max(n2, n3)), max(max(n4, n5), max(n6, n7)))
        low = min(
            min(min(np.uint32(n0 - 1), np.uint32(n1 - 1)), min(np.uint32(n2 - 1), np.uint32(n3 - 1))),
            min(min(np.uint32(n4 - 1), np.uint32(n5 - 1)), min(np.uint32(n6 - 1), np.uint32(n7 - 1))),
        )
        if high == UNASSIGNED:
            root = count
            count = np.uint32(count + 1)
            _create(nodes, root, value, y, x, 0, place)
        else:
            root = _find(nodes, high)
            if nodes[root, SINCE] > value:
                _close(nodes, root, value, height, across, boxes, all_iou, want_largest, largest)
            if low != np.uint32(high - 1):
                for number in (n0, n1, n2, n3, n4, n5, n6, n7):
                    if number == UNASSIGNED or number == high:  # noqa: SIM109 (numba compiles this to two comparisons)
                        continue
                    other = _find(nodes, number)
                    if other == root:
                        continue
                    if nodes[other, SINCE] > value:
                        _close(nodes, other, value, height, across, boxes, all_iou, want_largest, largest)
                    # the larger stays, so that few pixels carry a number that is out of date
                    if nodes[other, AREA] > nodes[root, AREA]:
                        root, other = other, root
                    _merge(nodes, root, other)
                    nodes[root, START] = min(nodes[root, START], nodes[other, START])
            _extend(nodes, root, y, x)
            if place < nodes[root, START]:
                nodes[root, START] = place
            nodes[root, AREA] += halves[place]
        component[i + stride + 1] = root
    # what is left: of the whole map, one component, which stands for the levels below its lowest value
    root = _find(nodes, root)
    if nodes[root, SINCE] > 0:
        _close(nodes, root, np.int32(0), height, across, boxes, all_iou, want_largest, largest)


@njit(cache=True, nogil=True)
def scan_levels(image, boxes):  # type: ignore[no-untyped-def]
    """Return what every level of a map gives.

    Args:
        image: (Y, X) uint8, C-contiguous, each side below 65534.
        boxes: (n, 4) int64 ground truth, x0 y0 x1 y1 in the map's pixels; n may be 0.

    Returns:
        largest_box: (256, 4) int64, the box of the largest contour at each level; 0 0 0 0 where nothing is above it.
        largest_iou: (256,) float64, its best IoU with any ground-truth box.
        all_iou: (256,) float64, the best IoU of any contour with any ground-truth box.
    """
    height, width = image.shape
    values = image.ravel()
    all_iou = np.full(LEVELS, -1.0)
    largest = np.full((LEVELS, 6), -1, np.int64)  # area, start, box
    largest[:, 2:] = 0
    first, last = np.zeros(height, np.int64), np.full(height, width - 1)
    order = _rising(values, width, first, last)
    filled = np.empty(values.size, np.uint8)
    if not _sweep_holes(values, order, height, width, boxes, all_iou, filled, first, last):
        filled = values
    else:
        islands = np.full((height + 2) * (width + 2), OUTSIDE, np.uint32)
        for y in range(height):
            row = (y + 1) * (width + 2) + 1
            islands[row + first[y] : row + last[y] + 1] = UNASSIGNED
        order = _rising(values, width, first, last)
        ones = np.ones(values.size, np.uint8)
        _sweep_components(values, order, islands, ones, height, width, boxes, all_iou, False, largest)
        order = _rising(filled, width, np.zeros(height, np.int64), np.full(height, width - 1))
    component = np.zeros((height + 2) * (width + 2), np.uint32)
    halves = _area_increments(filled, height, width)
    _sweep_components(filled, order, component, halves, height, width, boxes, all_iou, True, largest)
    largest_box = largest[:, 2:].copy()
    largest_iou = np.zeros(LEVELS)
    for level in range(LEVELS):
        largest_iou[level] = _best_iou(
            largest_box[level, 0], largest_box[level, 1], largest_box[level, 2], largest_box[level, 3], boxes
        )
        if all_iou[level] < 0:  # nothing above this level: the box 0 0 0 0
            all_iou[level] = largest_iou[level]
    return largest_box, largest_iou, all_iou
