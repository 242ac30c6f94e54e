"""From a score map to boxes at every threshold, and their overlaps with the ground truth (paper section 4.1)."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from spg_lightning.errors import UserError
from spg_lightning.localization.component_tree import scan_levels

NUM_THRESHOLDS = 1000
NO_BOXES = np.zeros((0, 4), np.int64)
LONGEST_SIDE = 65533  # the scan packs a pixel's place into 32 bits


def default_thresholds(count: int = NUM_THRESHOLDS) -> Float[np.ndarray, " T"]:
    """Return the benchmark's thresholds 0, 1/count, ... below 1."""
    return np.arange(0, 1, 1 / count)[:count]  # rounding can add a step at 1


@dataclass(frozen=True)
class ThresholdScan:
    """The boxes of one map at all thresholds. Arrays are indexed by level: threshold t has level int(t * max_value).

    Attributes:
        max_value: highest value of the map as uint8.
        largest_box: (256, 4) x0 y0 x1 y1 of the largest contour, in the map's pixels, corners inclusive.
        largest_iou: (256,) best IoU of that box with any ground-truth box.
        all_iou: (256,) the best IoU of any contour with any ground-truth box.
    """

    max_value: int
    largest_box: Integer[np.ndarray, "256 4"]
    largest_iou: Float[np.ndarray, "256"]
    all_iou: Float[np.ndarray, "256"]

    def compact(self) -> "ThresholdScan":
        """Return the scan in half the memory, for keeping many."""
        return replace(self, largest_box=self.largest_box.astype(np.uint16))

    def levels(self, thresholds: Float[np.ndarray, " T"]) -> Int[np.ndarray, " T"]:
        """Return the level of each threshold."""
        return (thresholds * self.max_value).astype(np.int64)

    def box_at(self, threshold: float) -> tuple[Int[np.ndarray, "4"], float]:
        """Return the largest contour's box at one threshold, and its best IoU with the ground truth."""
        level = int(threshold * self.max_value)
        return self.largest_box[level].astype(np.int64), float(self.largest_iou[level])


def box_of_map(
    score_map: Float[np.ndarray, "Y X"], threshold: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the box x0 y0 x1 y1 of a map's largest contour, in the pixels of an image of `size` (width, height).

    Args:
        score_map: in [0, 1].
        threshold: fraction of the map's maximum.
        size: of the image.

    Raises:
        UserError: see `check_map`.
    """
    inside, _ = scan_thresholds(score_map, NO_BOXES).box_at(threshold)
    return box_in_photo(inside, (score_map.shape[1], score_map.shape[0]), size)


def check_map(score_map: np.ndarray, name: str) -> None:
    """Check that a map is a (Y, X) array of floats in [0, 1].

    Raises:
        UserError: values that are not finite or outside [0, 1], or not a (height, width) array of floats.
    """
    if score_map.ndim != 2 or not np.issubdtype(score_map.dtype, np.floating) or not score_map.size:
        raise UserError(f"{name}: expected a (height, width) array of floats, got {score_map.shape} {score_map.dtype}")
    if max(score_map.shape) > LONGEST_SIDE:
        raise UserError(f"{name}: {score_map.shape} is too large; a side may have {LONGEST_SIDE} pixels")
    low, high = score_map.min(), score_map.max()
    if not np.isfinite([low, high]).all():
        raise UserError(
            f"{name}: values must lie in [0, 1]; there are some that are NaN or infinite; write the map again"
        )
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"{name}: values must lie in [0, 1]; found {low:g} to {high:g}; normalise each map to its range"
        )


def quantize(score_map: np.ndarray, name: str = "score map") -> UInt8[np.ndarray, "Y X"]:
    """Return a map in [0, 1] as uint8(map * 255), the benchmark's resolution.

    Raises:
        UserError: see `check_map`.
    """
    check_map(score_map, name)
    return (score_map * 255).astype(np.uint8)


def scan_thresholds(score_map: np.ndarray, boxes: Int[np.ndarray, "n 4"], name: str = "score map") -> ThresholdScan:
    """Scan a map against ground-truth boxes x0 y0 x1 y1 in the map's pixels (see `component_tree` for the rules).

    Raises:
        UserError: see `quantize`.
    """
    image = np.ascontiguousarray(quantize(score_map, name))
    largest_box, largest_iou, all_iou = scan_levels(image, np.ascontiguousarray(boxes, dtype=np.int64).reshape(-1, 4))
    return ThresholdScan(int(image.max()), largest_box, largest_iou, all_iou)


def scale_boxes(
    boxes: Float[np.ndarray, "n 4"], size: tuple[int, int], frame: tuple[int, int]
) -> Int[np.ndarray, "n 4"]:
    """Scale boxes from an image of `size` (width, height) to `frame` and truncate to integers, as the benchmark does."""
    # multiplied first, as the benchmark does: truncation would tell the difference
    return (boxes * np.array([*frame, *frame], np.float64) / np.array([*size, *size])).astype(np.int64)


def box_in_photo(
    box: Int[np.ndarray, "4"], frame: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return a contour's box in the pixels of an image of `size` (width, height), at most the image itself.

    The benchmark clips a far corner to the map's last pixel, which hides whether the contour ends there or one pixel before:
    both are taken to reach the photo's edge.
    """
    x0, y0, x1, y1 = box
    across, down = size[0] / frame[0], size[1] / frame[1]
    far_x, far_y = frame[0] if x1 == frame[0] - 1 else x1, frame[1] if y1 == frame[1] - 1 else y1
    return float(x0 * across), float(y0 * down), float(far_x * across), float(far_y * down)
