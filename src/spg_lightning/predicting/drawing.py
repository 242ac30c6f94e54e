"""Pictures of predictions: an image under its score map, with its boxes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from spg_lightning.localization.regions import Box
from spg_lightning.localizer import Localization
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name

OTHER_BOX = (200, 200, 200)  # colour of the classes after the first
OVERLAYS = ("png", "jpg", "none")


def draw_overlay(
    photo: UInt8[np.ndarray, "y x 3"],
    localizations: Sequence[Localization],
    boxes: Sequence[Sequence[Box]],
    found: bool,
) -> UInt8[np.ndarray, "y x 3"]:
    """Return the image under the first class's map, with the boxes of each distinct map.

    Args:
        photo: the image, at any size.
        localizations: the most probable class first.
        boxes: of each class, in pixels of the image at its full size.
        found: whether the image shows an object at all.
    """
    first = localizations[0]
    scale = np.tile([photo.shape[1] / first.size[0], photo.shape[0] / first.size[1]], 2)
    drawn = []
    for k, (of_class, own) in enumerate(zip(localizations, boxes, strict=True)):
        if k and of_class.score_map is first.score_map:
            continue
        text = f"{short_name(of_class.class_name)} {100 * of_class.score:.0f}%"
        colour = OTHER_BOX if k or not found else overlay.PREDICTED
        labels = [text if found else f"nothing here? {text}", *[""] * (len(own) - 1)]
        drawn += [(tuple(np.array(box) * scale), colour, label) for box, label in zip(own, labels, strict=True)]
    hot = overlay.heat(photo, overlay.resize_map(first.score_map, photo.shape[1], photo.shape[0]))
    return overlay.boxes(hot, drawn[::-1])
