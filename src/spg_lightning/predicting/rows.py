"""The rows of a prediction, as data: an image, its objects, and their JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool

from spg_lightning.localization.regions import Box

CORNERS = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Prediction:
    """One object of one image: a class, and a region of its score map.

    Attributes:
        image: path of the image as given.
        width, height: of the image in pixels, turned as its EXIF orientation says.
        rank: of the class, 1 for the most probable one.
        class_name: its name.
        class_index: its index in the checkpoint.
        score: probability of the class, in [0, 1].
        region: of the class's map, 1 for the largest one.
        box: x0 y0 x1 y1 in pixels of the image, the far edges exclusive.
        found: False where the image seems to show no object of the classes; annotation files leave it out.
        box_confidence: probability that the box reaches IoU 0.5 with an object; None without a calibration.
        presence: probability that the image shows an object of the classes; None without a calibration.
        mask: COCO's compressed run lengths at the image's size, {"size": [height, width], "counts": text}; None without masks.
        polygons: outlines [x, y, x, y, ...] in pixels of the image; None unless asked for.
        mask_file, overlay, map_file: paths relative to the output folder; "" unless written.
    """

    image: str
    width: int
    height: int
    rank: int
    class_name: str
    class_index: int
    score: float
    region: int
    box: Box
    found: bool = True
    box_confidence: float | None = None
    presence: float | None = None
    mask: dict[str, Any] | None = None
    polygons: list[list[float]] | None = None
    mask_file: str = ""
    overlay: str = ""
    map_file: str = ""

    def as_row(self) -> dict[str, object]:
        """Return the row of predictions.json."""
        row = asdict(self)
        row["class"] = row.pop("class_name")
        row["box"] = dict(zip(CORNERS, (round(c, 2) for c in self.box), strict=True))
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Prediction":
        """Return the prediction of a row that `as_row` gave."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in row.items() if name in known}
        box = row["box"]
        return cls(**{**values, "class_name": row["class"], "box": tuple(box[corner] for corner in CORNERS)})

    def pixels(self) -> Bool[np.ndarray, "Y X"] | None:
        """Return the mask at the image's size; None without masks."""
        return None if self.mask is None else decode_mask(self.mask)


@dataclass(frozen=True)
class ImageRow:
    """All objects of one image, or why it has none: one line of the journal.

    Attributes:
        image: path as given.
        objects: by rank, then by region.
        error: the line that says why the image could not be read; "" if it could.
    """

    image: str
    objects: tuple[Prediction, ...] = ()
    error: str = ""


def encode_mask(mask: Bool[np.ndarray, "Y X"]) -> dict[str, Any]:
    """Return a mask as COCO's compressed run lengths, ready for JSON."""
    from pycocotools.mask import encode

    run_lengths = encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": run_lengths["counts"].decode("ascii")}


def decode_mask(run_lengths: Mapping[str, Any]) -> Bool[np.ndarray, "Y X"]:
    """Return the mask of COCO's compressed run lengths."""
    from pycocotools.mask import decode

    return np.asarray(decode({**run_lengths, "counts": str(run_lengths["counts"]).encode("ascii")})).astype(bool)
