"""From a score map to the regions above a threshold: their boxes, and their masks at the size of the image."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import box_in_photo, quantize

WHICH = ("largest", "all")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """A connected region of a score map.

    Attributes:
        box: x0 y0 x1 y1 in pixels of the image, the far edges exclusive.
        mask: at the size of the map.
    """

    box: Box
    mask: Bool[np.ndarray, "y x"]

    @property
    def area_fraction(self) -> float:
        """Its share of the map's pixels, in [0, 1]."""
        return float(self.mask.mean())


def find_regions(
    score_map: Float[np.ndarray, "y x"],
    threshold: float,
    size: tuple[int, int],
    which: str = "largest",
    min_area: float = 0.0,
) -> list[Region]:
    """Return the 8-connected regions of a map above `threshold` times its maximum, the largest first.

    The first one has the box that evaluation scores: the benchmark's, see `component_tree`. A map without any positive value
    has no region.

    Args:
        score_map: in [0, 1].
        threshold: fraction of the map's maximum, in [0, 1).
        size: width and height of the image.
        which: "largest", or "all".
        min_area: share of the map, in [0, 1]; smaller regions are left out, except the largest.

    Raises:
        UserError: an unknown `which`, or see `check_map`.
    """
    if which not in WHICH:
        raise UserError(f"regions={which}: choose {' or '.join(WHICH)}")
    above = _above(quantize(score_map), threshold)
    contours, _ = cv2.findContours(above.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return []
    _, labels = cv2.connectedComponents(above.astype(np.uint8), connectivity=8)
    outer: dict[int, np.ndarray] = {}
    for contour in contours:  # holes have contours, too, which lie on the same region as the one around them
        number = int(labels[contour[0, 0, 1], contour[0, 0, 0]])
        if number not in outer or cv2.contourArea(contour) > cv2.contourArea(outer[number]):
            outer[number] = contour
    # a contour begins at its first pixel in reading order; of two equal areas the later one wins
    ranked = sorted(
        outer, key=lambda number: (cv2.contourArea(outer[number]), *outer[number][0, 0, ::-1].tolist()), reverse=True
    )
    regions = [_region(outer[number], labels == number, size) for number in ranked[: 1 if which == "largest" else None]]
    return regions[:1] + [region for region in regions[1:] if region.area_fraction >= min_area]


def mask_at_image_size(
    score_map: Float[np.ndarray, "y x"], threshold: float, region: Region, size: tuple[int, int]
) -> Bool[np.ndarray, "Y X"]:
    """Return a region's mask at the size of the image: the map is resized bilinearly, then cut at the threshold.

    Args:
        score_map, threshold: that the region comes from.
        region: one of `find_regions`.
        size: width and height of the image.
    """
    own = region.mask | ~_above(quantize(score_map), threshold)
    values = np.where(own, score_map, 0).astype(np.float32)  # other regions are taken away before they are blurred
    # a quantized value above the level is at least the level + 1
    lowest = (int(threshold * int(quantize(score_map).max())) + 1) / 255
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)) >= lowest


def _above(quantized: UInt8[np.ndarray, "y x"], threshold: float) -> Bool[np.ndarray, "y x"]:
    return np.asarray(quantized > int(threshold * int(quantized.max())))


def _region(contour: np.ndarray, mask: Bool[np.ndarray, "y x"], size: tuple[int, int]) -> Region:
    height, width = mask.shape
    x, y, across, down = cv2.boundingRect(contour)
    inside = np.array([x, y, min(x + across, width - 1), min(y + down, height - 1)])
    return Region(box_in_photo(inside, (width, height), size), mask)
