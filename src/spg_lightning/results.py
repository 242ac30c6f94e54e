"""What counts mean: score map and threshold chosen on val and applied to test, floors beside them, results by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from spg_lightning.data.records import Records
from spg_lightning.localization.floors import floors
from spg_lightning.localization.metrics import Curves, summarize
from spg_lightning.localization.scan import Scan, box_in_photo

Boxes = Sequence[Int[np.ndarray, "n 4"]]


@dataclass(frozen=True)
class ImageResult:
    """What came of one test image.

    Attributes:
        index: in the records of the test part.
        image: its id. label: its class. predicted: the most probable class, "" where unknown.
        box: x0 y0 x1 y1 of the largest contour at the evaluation's threshold, in pixels of the photo.
        iou: with the nearest ground-truth box, pixels counted inclusively in the map's frame.
    """

    index: int
    image: str
    label: str
    predicted: str
    box: tuple[float, float, float, float]
    iou: float


@dataclass(frozen=True)
class Evaluation:
    """The outcome.

    Attributes:
        score_map: of the smallest GT-known error on val, among those evaluated; "" for maps from elsewhere.
        threshold: of that map, on val; where there is no val, the best on test itself.
        per_map: score map -> "<split>/<name>" -> number.
        floors: "test/floor_..." -> number.
        curves: split -> score map -> counts at all thresholds.
        images: the chosen map's result for each test image.
    """

    score_map: str
    threshold: float
    per_map: dict[str, dict[str, float]]
    floors: dict[str, float]
    curves: dict[str, dict[str, Curves]]
    images: tuple[ImageResult, ...] = ()

    @property
    def metrics(self) -> dict[str, float]:
        """The chosen map's numbers and the floors; then each map's own, as "<split>/<map>/<name>"."""
        flat = {**self.per_map[self.score_map], **self.floors}
        for name, numbers in self.per_map.items():
            for key, value in numbers.items() if name else ():
                split, metric = key.split("/", 1)
                flat[f"{split}/{name}/{metric}"] = value
        return flat


def choose_map(val: Mapping[str, Curves]) -> str:
    """Return the score map with the highest GT-known accuracy at its best threshold."""
    return max(val, key=lambda name: val[name].accuracy("gt_known").max())


def conclude(
    test: dict[str, Curves],
    val: dict[str, Curves] | None,
    truth: Mapping[str, Boxes],
    frame: tuple[int, int],
) -> Evaluation:
    """Return metrics and floors.

    Args:
        test, val: score map -> counts; without `val` thresholds are chosen on test, and only oracle numbers are given.
        truth: split -> ground-truth boxes of each image in the frame; splits without boxes are left out.
        frame: width and height that boxes are compared in.
    """
    chosen = choose_map(val or test)
    per_map = {}
    for name in test:
        # val's thresholds were chosen on val, so that its numbers are their own oracle
        of_val = {f"val/{k.removesuffix('_oracle')}": v for k, v in summarize(val[name], None).items()} if val else {}
        of_test = {f"test/{k}": v for k, v in summarize(test[name], val[name] if val else None).items()}
        per_map[name] = {**of_val, **of_test}
    blind = floors(truth["test"], truth.get("val"), frame) if "test" in truth else {}
    return Evaluation(
        score_map=chosen,
        threshold=per_map[chosen].get("test/threshold", per_map[chosen].get("test/threshold_oracle", 0.0)),
        per_map=per_map,
        floors={f"test/{name}": value for name, value in blind.items()},
        curves={"val": val, "test": test} if val else {"test": test},
    )


def image_results(
    records: Records,
    scans: Mapping[int, Scan],
    predicted: Mapping[int, str],
    frames: Mapping[int, tuple[int, int]],
    threshold: float,
) -> tuple[ImageResult, ...]:
    """Return the results by image at one threshold.

    Args:
        records: the images.
        scans, predicted, frames: index -> scan, most probable class, width and height of the scanned map.
        threshold: of the boxes.
    """
    results = []
    for index in sorted(scans):
        inside, iou = scans[index].at(threshold)
        box = box_in_photo(inside, frames[index], (int(records.sizes[index][0]), int(records.sizes[index][1])))
        label = records.class_names[int(records.labels[index])]
        results.append(ImageResult(index, records.image_id(index), label, predicted.get(index, ""), box, iou))
    return tuple(results)
