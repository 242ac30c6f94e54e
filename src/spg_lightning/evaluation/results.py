"""What counts mean: score map and threshold chosen on val and applied to test, floors beside them, results by image."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from spg_lightning.data.records import Records
from spg_lightning.localization.metrics import LocalizationCounts, summarize
from spg_lightning.localization.naive_baselines import naive_baselines
from spg_lightning.localization.pixel_metrics import pixel_average_precision
from spg_lightning.localization.threshold_scan import ThresholdScan, box_in_photo

log = logging.getLogger(__name__)

Boxes = Sequence[Int[np.ndarray, "_ 4"]]
DEFAULT_THRESHOLD = 0.2  # where nothing tells a better one: class activation maps' own (Zhou et al., 2016)


@dataclass(frozen=True)
class ImageResult:
    """What came of one test image.

    Attributes:
        index: in the records of the test part.
        image: its id. label: its class. predicted: the most probable class, "" where unknown.
        box: x0 y0 x1 y1 of the largest contour at the evaluation's threshold, in pixels of the image.
        iou: with the nearest ground-truth box, pixels counted inclusively in the map's frame; NaN where there is none.
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
        score_map: of the smallest error on val, among those evaluated, see `select_score_map`; "" for maps from elsewhere.
        threshold: of that map, on val; where there is no val, the best on test itself. `DEFAULT_THRESHOLD` where there is a val,
            but without boxes, and where there are no boxes at all.
        per_map: score map -> "<split>/<name>" -> number.
        floors: "test/floor_..." -> number.
        curves: split -> score map -> counts at all thresholds.
        images: the chosen map's result for each test image.
    """

    score_map: str
    threshold: float
    per_map: dict[str, dict[str, float]]
    naive_baselines: dict[str, float]
    curves: dict[str, dict[str, LocalizationCounts]]
    images: tuple[ImageResult, ...] = ()

    @property
    def metrics(self) -> dict[str, float]:
        """The chosen map's numbers and the floors; then each map's own, as "<split>/<map>/<name>"."""
        flat = {**self.per_map[self.score_map], **self.naive_baselines}
        for name, numbers in self.per_map.items():
            for key, value in numbers.items() if name else ():
                split, metric = key.split("/", 1)
                flat[f"{split}/{name}/{metric}"] = value
        return flat


def select_score_map(val: Mapping[str, LocalizationCounts]) -> str:
    """Return the score map that localizes best; where nothing can tell, the first: the one the paper localizes with."""
    return min(val, key=lambda name: localization_error(val[name]) or 0.0)


def localization_error(curves: LocalizationCounts) -> float | None:
    """Return a score map's GT-known error at its best threshold; where there are only masks, 100 - PxAP; without, None."""
    if curves.num_boxed:
        return 100 - float(curves.accuracy("gt_known").max())
    return 100 - pixel_average_precision(curves.pixel_hist) if curves.pixel_hist[1].any() else None


def validation_numbers(curves: Mapping[str, LocalizationCounts]) -> dict[str, float]:
    """Return what a validation logs, by name without "val/".

    `gt_known_error` where there are boxes, of each map and the best; `cls_top1_error`; `objective`, what tells the best
    weights: the best map's localization error, or where none is known the classification error.
    """
    any_map = next(iter(curves.values()))
    errors = {name: error for name, c in curves.items() if (error := localization_error(c)) is not None}
    out = {"cls_top1_error": 100 - 100 * any_map.top1 / max(any_map.num_images, 1)}
    if any_map.num_boxed:
        out |= {f"{name}/gt_known_error": error for name, error in errors.items()}
        out["gt_known_error"] = min(errors.values())
    out["objective"] = min(errors.values()) if errors else out["cls_top1_error"]
    return out


def compute_evaluation(
    test: dict[str, LocalizationCounts],
    val: dict[str, LocalizationCounts] | None,
    truth: Mapping[str, Boxes],
    frame: tuple[int, int],
) -> Evaluation:
    """Return metrics and floors.

    Args:
        test, val: score map -> counts; without `val` thresholds are chosen on test, and only oracle numbers are given.
        truth: split -> ground-truth boxes of each image in the frame; images and splits without boxes may be left out.
        frame: width and height that boxes are compared in.
    """
    chosen = select_score_map(val or test)
    per_map = {}
    for name in test:
        # val's thresholds were chosen on val, so that its numbers are their own oracle
        of_val = {f"val/{k.removesuffix('_oracle')}": v for k, v in summarize(val[name], None).items()} if val else {}
        of_test = {f"test/{k}": v for k, v in summarize(test[name], val[name] if val else None).items()}
        per_map[name] = {**of_val, **of_test}
    boxed = {split: [boxes for boxes in of_split if len(boxes)] for split, of_split in truth.items()}
    blind = naive_baselines(boxed["test"], boxed.get("val") or None, frame) if boxed.get("test") else {}
    if val and test[chosen].num_boxed and not val[chosen].num_boxed:
        log.warning(
            "the val images have no boxes to choose a threshold by: boxes are drawn at the default %g, and only oracle numbers "
            "are given; give some val images boxes", DEFAULT_THRESHOLD,
        )  # fmt: skip
    return Evaluation(
        score_map=chosen,
        threshold=per_map[chosen].get("test/threshold" if val else "test/threshold_oracle", DEFAULT_THRESHOLD),
        per_map=per_map,
        naive_baselines={f"test/{name}": value for name, value in blind.items()},
        curves={"val": val, "test": test} if val else {"test": test},
    )


def image_results(
    records: Records,
    scans: Mapping[int, ThresholdScan],
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
        inside, iou = scans[index].box_at(threshold)
        box = box_in_photo(inside, frames[index], (int(records.sizes[index][0]), int(records.sizes[index][1])))
        label = records.class_names[int(records.labels[index])]
        iou = iou if len(records.boxes_of(index)) else float("nan")
        results.append(ImageResult(index, records.image_id(index), label, predicted.get(index, ""), box, iou))
    return tuple(results)
