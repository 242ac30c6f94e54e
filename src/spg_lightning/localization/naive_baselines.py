"""Naive baselines, which do not look at the image: the whole image, and the best centred box. Every report shows them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

STEPS = 50  # sizes tried along each side


def naive_baselines(
    test: Sequence[Int[np.ndarray, "_ 4"]],
    val: Sequence[Int[np.ndarray, "_ 4"]] | None,
    frame: tuple[int, int],
) -> dict[str, float]:
    """Return the GT-known errors of the naive baselines at IoU 0.5, in percent.

    Args:
        test, val: ground-truth boxes of each image, scaled to the frame.
        frame: width and height.

    Returns:
        `floor_whole_gt_known_error`; `floor_center_gt_known_error` with the centred box's width and height chosen on
        `val` (left out without it), and `..._oracle` with the best ones on `test`.
    """
    whole = np.array([[0, 0, frame[0] - 1, frame[1] - 1]])
    centred = _centred(frame)
    hits = _hits(centred, test).sum(0)
    count = max(len(test), 1)
    out = {"floor_whole_gt_known_error": 100 - 100 * float(_hits(whole, test).sum()) / count}
    if val is not None:
        out["floor_center_gt_known_error"] = 100 - 100 * float(hits[_hits(centred, val).sum(0).argmax()]) / count
    out["floor_center_gt_known_error_oracle"] = 100 - 100 * float(hits.max()) / count
    return out


def _centred(frame: tuple[int, int]) -> Int[np.ndarray, "boxes 4"]:
    shares = np.arange(1, STEPS + 1) / STEPS
    width, height = (side.ravel() for side in np.meshgrid(shares * frame[0], shares * frame[1]))
    x0, y0 = (frame[0] - width) / 2, (frame[1] - height) / 2
    corners = np.stack([x0, y0, x0 + width - 1, y0 + height - 1], 1)
    return np.round(corners).astype(np.int64)


def _hits(guesses: Int[np.ndarray, "boxes 4"], images: Sequence[Int[np.ndarray, "_ 4"]]) -> Bool[np.ndarray, "_ boxes"]:
    """Return which guesses reach IoU 0.5, pixels counted inclusively, with any box of each image."""
    out = np.zeros((len(images), len(guesses)), bool)
    area = (guesses[:, 2] - guesses[:, 0] + 1) * (guesses[:, 3] - guesses[:, 1] + 1)
    for i, boxes in enumerate(images):
        for x0, y0, x1, y1 in boxes:
            width = np.minimum(guesses[:, 2], x1) - np.maximum(guesses[:, 0], x0) + 1
            height = np.minimum(guesses[:, 3], y1) - np.maximum(guesses[:, 1], y0) + 1
            both = np.maximum(width, 0) * np.maximum(height, 0)
            out[i] |= both / (area + (x1 - x0 + 1) * (y1 - y0 + 1) - both) >= 0.5
    return out
