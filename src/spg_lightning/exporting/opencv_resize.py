"""OpenCV's bilinear resizing of uint8 images, digit by digit, in float32 operations that every runtime has.

A localizer resizes with OpenCV. A program that resized by the formula alone would see values that differ by 1 in an eighth of the
pixels, and now and then find another box.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

ONE = 2**11  # of the weights, which are whole numbers: INTER_RESIZE_COEF_SCALE


def resize(images: UInt8[Tensor, "B 3 Y X"], side: int) -> Float[Tensor, "B 3 S S"]:
    """Return `cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)` of each image, whole numbers from 0 to 255.

    Every intermediate value is a whole number below 2^24, so that float32 holds it exactly.
    """
    top, bottom, *down = _taps(images.shape[2], side, is_clamped=False)
    left, right, *across = _taps(images.shape[3], side, is_clamped=True)
    rows = []
    for index in (top, bottom):
        row = images.index_select(2, index)
        first, second = row.index_select(3, left).float(), row.index_select(3, right).float()
        rows.append(((first * across[0] + second * across[1]) / 16).floor())
    values = [_times(row, weight[:, None]) for row, weight in zip(rows, down, strict=True)]
    return ((values[0] + values[1] + 2) / 4).floor()


def _taps(length: int, side: int, is_clamped: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the indices of the two pixels that each new one lies between, and their weights.

    Args:
        length, side: old and new.
        is_clamped: whether a place beyond the border moves onto it: columns do, rows only have their indices clamped.
    """
    place = ((2 * torch.arange(side) + 1) * length - side).float() / (2 * side)
    if is_clamped:
        place = place.clamp(min=0).minimum(torch.full((side,), 1.0) * (length - 1))
    low = place.floor()
    fraction = place - low
    first = low.to(torch.int64)
    last = torch.full((side,), 1, dtype=torch.int64) * (length - 1)
    indices = [index.clamp(min=0).minimum(last) for index in (first, first + 1)]
    return indices[0], indices[1], ((1 - fraction) * ONE).round(), (fraction * ONE).round()


def _times(values: Tensor, weights: Tensor) -> Tensor:
    """Return floor(values * weights / 2^16), whose product would need 26 bits."""
    high = (values / 64).floor()
    low = values - 64 * high
    return ((weights * high + (weights * low / 64).floor()) / 1024).floor()
