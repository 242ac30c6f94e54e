"""From counts to results: score map and threshold chosen on val and applied to test, naive baselines, results by image."""

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

Box = tuple[float, float, float, float]
Boxes = Sequence[Int[np.ndarray, "_ 4"]]
DEFAULT_THRESHOLD = 0.2  # of class activation maps (Zhou et al., CVPR 2016)


@dataclass(frozen=True)
class ImageResult:
    """The result of one score map on one image.

    Attributes:
        split: "val" or "test".
        score_map: its name.
        index: in the records of the split.
        image: its id.
        label: its class.
        predicted: the most probable class, "" if unknown.
        score: its probability in [0, 1]; NaN if unknown.
        box: x0 y0 x1 y1 of the largest contour at the map's threshold, in pixels of the image.
        true_boxes: ground truth, likewise.
        iou: with the nearest ground-truth box, counting pixels inclusively in the map's frame; NaN without one.
    """

    split: str
    score_map: str
    index: int
    image: str
    label: str
    predicted: str
    score: float
    box: Box
    true_boxes: tuple[Box, ...]
    iou: float


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        score_map: the one with the smallest error on val, see `select_score_map`; "" for a folder of maps.
        thresholds: score map -> its best on val; without val, the best on test itself; `DEFAULT_THRESHOLD` if val, or every
            split, has no boxes.
        per_map: score map -> "<split>/<name>" -> number.
        naive_baselines: `"test/floor_..."` -> number.
        curves: split -> score map -> counts at all thresholds.
        frame: width and height that boxes are compared in; None: those of each map, which differ.
        images: the chosen map's result for each test image.
        more_images: those of the other maps, and of val, if they were recorded.
        pseudo_boxes: the score map, or the file, whose boxes stood in for ground truth on val; "" if none did.
        crops: over so many crops of a test image the class scores are averaged; None: they are those of the whole image.
    """

    score_map: str
    thresholds: dict[str, float]
    per_map: dict[str, dict[str, float]]
    naive_baselines: dict[str, float]
    curves: dict[str, dict[str, LocalizationCounts]]
    frame: tuple[int, int] | None
    images: tuple[ImageResult, ...] = ()
    more_images: tuple[ImageResult, ...] = ()
    pseudo_boxes: str = ""
    crops: int | None = None

    @property
    def threshold(self) -> float:
        """The threshold of the chosen map."""
        return self.thresholds[self.score_map]

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the chosen map and the naive baselines; then those of each map, as "<split>/<map>/<name>"."""
        flat = {**self.per_map[self.score_map], **self.naive_baselines}
        for name, numbers in self.per_map.items():
            for key, value in numbers.items() if name else ():
                split, metric = key.split("/", 1)
                flat[f"{split}/{name}/{metric}"] = value
        return flat


def select_score_map(val: Mapping[str, LocalizationCounts]) -> str:
    """Return the score map with the smallest error, or the first (the paper's attention) if no error is known."""
    return min(val, key=lambda name: choice_error(val[name]) or 0.0)


def choice_error(curves: LocalizationCounts) -> float | None:
    """Return how bad a score map is at its best threshold, in percent, by what its counts are to choose by.

    100 - GT-known accuracy, or 100 - mean IoU of the boxes; 100 - PxAP with masks only; None without ground truth.
    """
    if curves.num_boxed:
        return 100 - float(curves.box_quality().max())
    return 100 - pixel_average_precision(curves.pixel_hist) if curves.pixel_hist[1].any() else None


def validation_numbers(curves: Mapping[str, LocalizationCounts]) -> dict[str, float]:
    """Return the metrics of a validation, by name without "val/".

    With boxes: `gt_known_error` of each map and of the best. Always: `cls_top1_error`, and `objective`, which selects the best
    weights: `choice_error` of the best map, or the classification error without ground truth.
    """
    any_map = next(iter(curves.values()))
    errors = [error for c in curves.values() if (error := choice_error(c)) is not None]
    out = {"cls_top1_error": 100 - 100 * any_map.top1 / max(any_map.num_images, 1)}
    if any_map.num_boxed:
        known = {f"{name}/gt_known_error": 100 - float(c.accuracy("gt_known").max()) for name, c in curves.items()}
        out |= known
        out["gt_known_error"] = min(known.values())
    out["objective"] = min(errors) if errors else out["cls_top1_error"]
    return out


def compute_evaluation(
    test: dict[str, LocalizationCounts],
    val: dict[str, LocalizationCounts] | None,
    truth: Mapping[str, Boxes],
    frame: tuple[int, int],
) -> Evaluation:
    """Return metrics and naive baselines.

    Args:
        test, val: score map -> counts; without `val` thresholds are chosen on test, and only oracle numbers are given.
        truth: split -> ground-truth boxes of each image in the frame; images and splits without boxes may be left out.
        frame: width and height that boxes are compared in.
    """
    chosen = select_score_map(val or test)
    per_map = {}
    for name in test:
        # val's thresholds are chosen on val itself, so its metrics equal their oracle
        of_val = {f"val/{k.removesuffix('_oracle')}": v for k, v in summarize(val[name], None).items()} if val else {}
        of_test = {f"test/{k}": v for k, v in summarize(test[name], val[name] if val else None).items()}
        per_map[name] = {**of_val, **of_test}
    boxed = {split: [boxes for boxes in of_split if len(boxes)] for split, of_split in truth.items()}
    baselines = naive_baselines(boxed["test"], boxed.get("val") or None, frame) if boxed.get("test") else {}
    if val and test[chosen].num_boxed and not val[chosen].num_boxed:
        log.warning(
            "the val images have no boxes to choose a threshold by: boxes are drawn at the default %g, and only oracle numbers "
            "are given; give some val images boxes", DEFAULT_THRESHOLD,
        )  # fmt: skip
    thresholds = {}
    for name, numbers in per_map.items():
        thresholds[name] = numbers.get("test/threshold" if val else "test/threshold_oracle", DEFAULT_THRESHOLD)
        if val and not test[name].is_measured and val[name].is_measured:  # nothing to score, but boxes to draw
            thresholds[name] = float(val[name].thresholds[val[name].best_threshold()])
    return Evaluation(
        score_map=chosen,
        thresholds=thresholds,
        per_map=per_map,
        naive_baselines={f"test/{name}": value for name, value in baselines.items()},
        curves={"val": val, "test": test} if val else {"test": test},
        frame=frame,
    )


def image_results(
    split: str,
    score_map: str,
    records: Records,
    scans: Mapping[int, ThresholdScan],
    predicted: Mapping[int, str],
    scores: Mapping[int, float],
    frames: Mapping[int, tuple[int, int]],
    threshold: float,
) -> tuple[ImageResult, ...]:
    """Return the results by image of one score map at one threshold.

    Args:
        split, score_map: names.
        records: the images.
        scans, predicted, scores, frames: index -> scan, most probable class and its probability where they are known, width and
            height of the scanned map.
        threshold: of the boxes.
    """
    results = []
    for index in sorted(scans):
        inside, iou = scans[index].box_at(threshold)
        truth = records.boxes_of(index)
        results.append(
            ImageResult(
                split=split,
                score_map=score_map,
                index=index,
                image=records.images[index],
                label=records.class_names[int(records.labels[index])],
                predicted=predicted.get(index, ""),
                score=scores.get(index, float("nan")),
                box=box_in_photo(inside, frames[index], (int(records.sizes[index][0]), int(records.sizes[index][1]))),
                true_boxes=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in truth.tolist()),
                iou=iou if len(truth) else float("nan"),
            )
        )
    return tuple(results)
