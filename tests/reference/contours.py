"""The benchmark's box rules from their definition, one level at a time, without OpenCV and without a component tree."""

import numpy as np
from scipy import ndimage

EIGHT, FOUR = np.ones((3, 3)), ndimage.generate_binary_structure(2, 1)


def inclusive_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return width * height / (sum(area) - width * height)


def polygon_area(component):
    """Return the area inside the outer contour through pixel centres, from 2 x 2 squares of the filled component."""
    filled = ndimage.binary_fill_holes(component, FOUR).astype(int)
    inside = filled[:-1, :-1] + filled[1:, :-1] + filled[:-1, 1:] + filled[1:, 1:]
    return (inside == 3).sum() / 2 + (inside == 4).sum()


def bounding_box(component, shape, grow=0):
    rows, columns = np.flatnonzero(component.any(1)), np.flatnonzero(component.any(0))
    x, y = columns[0] - grow, rows[0] - grow
    return [x, y, min(columns[-1] + grow + 1, shape[1] - 1), min(rows[-1] + grow + 1, shape[0] - 1)]


def boxes_at(image, level):
    """Return the box of the largest contour, and all contours' boxes, of the pixels above a level."""
    above = image > level
    labels, count = ndimage.label(above, EIGHT)
    if count == 0:
        return [0, 0, 0, 0], [[0, 0, 0, 0]]
    parts = [labels == k for k in range(1, count + 1)]
    # of equal areas the one whose first pixel in reading order comes last
    best = max(parts, key=lambda part: (polygon_area(part), np.flatnonzero(part)[0]))
    boxes = [bounding_box(part, image.shape) for part in parts]
    gaps, count = ndimage.label(~above, FOUR)
    border = set(np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]]).tolist())
    boxes += [bounding_box(gaps == k, image.shape, grow=1) for k in range(1, count + 1) if k not in border]
    return bounding_box(best, image.shape), boxes


def scan_levels(image, truth):
    largest_box, largest_iou, all_iou = np.zeros((256, 4), int), np.zeros(256), np.zeros(256)
    for level in range(256):
        # the pixels above a level that no pixel has are those above the level before
        if level == 0 or (image == level).any():
            largest, boxes = boxes_at(image, level)
        largest_box[level] = largest
        largest_iou[level] = max((inclusive_iou(largest, t) for t in truth), default=0.0)
        all_iou[level] = max((inclusive_iou(box, t) for box in boxes for t in truth), default=0.0)
    return largest_box, largest_iou, all_iou
