"""Localization and classification metrics as one torchmetrics metric whose states are integer sums.

Sums of integers do not depend on order: any split of the images over batches and processes gives identical numbers.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int8
from torch import Tensor
from torchmetrics import Metric

from spg_lightning.errors import UserError
from spg_lightning.localization.five_boxes import PAIRS, best_pair, five_box_hits
from spg_lightning.localization.pixel_metrics import (
    histogram_edges,
    mask_overlaps,
    pixel_average_precision,
    pixel_histograms,
)
from spg_lightning.localization.saliency_metrics import energy_in_box, pointing_game
from spg_lightning.localization.threshold_scan import ThresholdScan, check_map, default_thresholds, scan_thresholds

IOUS = (30, 50, 70)
# rows of `hits`: the first three take the largest contour at IoU 0.5, the others any contour (MaxBoxAccV2)
CURVES = ("gt_known", "loc_top1", "loc_top5", "iou30", "iou50", "iou70")

UNIT = 1e-9  # of fractions, which are summed as integers
CRITERIA = ("gt_known", "mean_iou")  # that choose map and threshold on val
SALIENCY = {"pointing_game": pointing_game, "energy_in_box": energy_in_box}

Masks = Int8[Tensor, "*B Y X"] | Bool[Tensor, "*B Y X"]


@dataclass  # torchmetrics does not accept frozen dataclasses
class LocalizationCounts:
    """Counts of an evaluation.

    Attributes:
        thresholds: (T,) in [0, 1).
        hits: (6, T) correctly localized images at each threshold, rows as `CURVES`.
        num_images: number of images.
        num_boxed: of them with ground-truth boxes.
        num_classified, num_top5, num_ranked: of them with known predicted classes, the first, the first five, and the rank of
            the label.
        top1, top5: correctly classified images.
        star_hits: (S, S) images right with five boxes at each tight and loose threshold, see `five_boxes`.
        pixel_hist: (2, bins) histograms of scores on background and object; zeros without masks.
        saliency: (2,) sums of `pointing_game` and `energy_in_box` over the images with boxes, in units of `UNIT`.
        iou: (T,) sum of the largest contour's IoU over the images with boxes at each threshold, in units of `UNIT`.
        choose_by: one of `CRITERIA`. "gt_known" is the benchmark's: the most images right. "mean_iou" tells boxes that just
            miss from those that are far off, and so needs fewer images (experiments/cub20_seeded).
    """

    thresholds: Float[np.ndarray, " T"]
    hits: Int[np.ndarray, "6 T"]
    num_images: int
    num_boxed: int
    num_classified: int
    num_top5: int
    num_ranked: int
    top1: int
    top5: int
    star_hits: Int[np.ndarray, "S S"]
    pixel_hist: Int[np.ndarray, "2 bins"]
    saliency: Int[np.ndarray, "2"]
    iou: Int[np.ndarray, " T"]
    choose_by: str

    def accuracy(self, curve: str) -> Float[np.ndarray, " T"]:
        """Return a curve in percent of the images with boxes."""
        return 100 * self.hits[CURVES.index(curve)] / max(self.num_boxed, 1)

    @property
    def has_masks(self) -> bool:
        """Whether any object pixel was counted."""
        return bool(self.pixel_hist[1].any())

    @property
    def is_measured(self) -> bool:
        """Whether there is any ground truth."""
        return self.num_boxed > 0 or self.has_masks

    def mask_overlaps(self) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
        """Return IoU and F1 of the masks at each threshold, in percent, pooled over all pixels."""
        return mask_overlaps(self.pixel_hist, len(self.thresholds))

    def best(self, curve: str) -> int:
        """Return the index of the best threshold of a curve: the middle of the longest run where it is highest."""
        return _middle_of_best(self.hits[CURVES.index(curve)])

    def box_quality(self) -> Float[np.ndarray, " T"]:
        """Return what `choose_by` names at each threshold, in percent; higher is better."""
        return (
            100 * self.iou * UNIT / max(self.num_boxed, 1)
            if self.choose_by == "mean_iou"
            else self.accuracy("gt_known")
        )

    def best_threshold(self) -> int:
        """Return the index of the threshold to draw at: the best for `choose_by`, without boxes the best IoU of the masks."""
        return _middle_of_best(self.box_quality() if self.num_boxed else self.mask_overlaps()[0])


def _middle_of_best(row: np.ndarray) -> int:
    at_best = np.flatnonzero(row == row.max())
    runs = np.split(at_best, np.flatnonzero(np.diff(at_best) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2])


class LocalizationMetric(Metric):
    """Counts, over images and at all thresholds, where a score map's boxes meet the ground truth.

    Args:
        num_thresholds: how finely thresholds are spaced; the benchmark's default is 1000.
        choose_by: see `LocalizationCounts`.

    Raises:
        UserError: an unknown criterion.

    Attributes:
        scans: if `keep_scans`, every image's scan in the order of the updates, in this process: for results by image.
    """

    full_state_update = False

    def __init__(
        self, num_thresholds: int, keep_scans: bool = False, choose_by: str = "gt_known", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if choose_by not in CRITERIA:
            raise UserError(f"choose_by={choose_by}: choose one of {', '.join(CRITERIA)}")
        self.choose_by = choose_by
        self.thresholds = default_thresholds(num_thresholds)
        self.edges = histogram_edges(self.thresholds)
        self.keep_scans, self.scans = keep_scans, list[ThresholdScan]()
        zeros = torch.zeros(len(CURVES), len(self.thresholds), dtype=torch.int64)
        self.hits: Tensor
        self.pixel_hist: Tensor
        self.saliency: Tensor
        self.iou: Tensor
        self.star_hits: Tensor
        # images, with boxes, with a predicted class, with five, with the label's rank, correct in the first, correct in the first five
        self.counts: Tensor
        self.add_state("hits", zeros, dist_reduce_fx="sum")
        self.add_state("pixel_hist", torch.zeros(2, len(self.edges) - 1, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("saliency", torch.zeros(len(SALIENCY), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("iou", torch.zeros(len(self.thresholds), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("star_hits", torch.zeros(PAIRS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(7, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        score_maps: Float[Tensor, "B Y X"] | Sequence[np.ndarray],
        boxes: Sequence[Int[np.ndarray, "_ 4"]] | None,
        top1: Bool[Tensor, " B"] | None = None,
        top5: Bool[Tensor, " B"] | None = None,
        masks: Masks | Sequence[Masks] | None = None,
        names: Sequence[str] | None = None,
        rank: Int[Tensor, " B"] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            score_maps: the map of each image's label, (Y, X) floats in [0, 1]. It also serves top-1 and top-5 localization: an
                image only counts if its label is among the predicted classes, and then that class's map is the label's.
            boxes: ground truth of each image in the map's pixels, x0 y0 x1 y1; None with masks only. An image without boxes
                only counts for classification.
            top1, top5: whether the label is the most probable class, or among the five most probable; None if unknown.
            masks: 1 object, 0 background, -1 ignored, for PxAP.
            names: of the maps, for error messages.
            rank: see `PredictedClasses`.

        Raises:
            UserError: a map is not a (Y, X) array of floats in [0, 1].
        """
        maps = _as_arrays(score_maps)
        hits = np.zeros(self.hits.shape, np.int64)
        pixels = np.zeros(self.pixel_hist.shape, np.int64)
        saliency = np.zeros(len(SALIENCY), np.int64)
        iou = np.zeros(self.iou.shape, np.int64)
        star_hits = np.zeros(self.star_hits.shape, np.int64)
        correct = [None if flags is None else flags.cpu().numpy() for flags in (top1, top5)]
        ranks = None if rank is None else rank.tolist()

        def count(i: int) -> tuple[ThresholdScan | None, Int[np.ndarray, "2"], Int[np.ndarray, "2 bins"] | None]:
            name, of_image = names[i] if names else f"score map {i}", None if boxes is None else boxes[i]
            return _scan(maps[i], of_image, name), _saliency(maps[i], of_image), self._histogram(maps[i], masks, i)

        # compiled code releases Python's lock: as many threads as torch may have, which is a process's share of the cores
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for i, (scan, measures, histogram) in enumerate(pool.map(count, range(len(maps)))):
                if scan is not None and boxes is not None and len(boxes[i]):
                    levels = scan.levels(self.thresholds)
                    hits += self._hits(scan, *(flags is not None and bool(flags[i]) for flags in correct))[:, levels]
                    iou += (scan.largest_iou / UNIT).round().astype(np.int64)[levels]
                    if ranks is not None:
                        star_hits += five_box_hits(scan, ranks[i])
                saliency += measures
                if scan is not None and self.keep_scans:
                    self.scans.append(scan.compact())
                if histogram is not None:
                    pixels += histogram
        num_boxed = 0 if boxes is None else sum(len(of_image) > 0 for of_image in boxes)
        counts = [len(maps), num_boxed, *(len(maps) * (flags is not None) for flags in (*correct, ranks))]
        counts += [0 if flags is None else int(flags.sum()) for flags in correct]
        self.hits += torch.from_numpy(hits).to(self.device)
        self.pixel_hist += torch.from_numpy(pixels).to(self.device)
        self.saliency += torch.from_numpy(saliency).to(self.device)
        self.iou += torch.from_numpy(iou).to(self.device)
        self.star_hits += torch.from_numpy(star_hits).to(self.device)
        self.counts += torch.tensor(counts, device=self.device)

    def _histogram(
        self, score_map: np.ndarray, masks: Masks | Sequence[Masks] | None, i: int
    ) -> Int[np.ndarray, "2 bins"] | None:
        """Return the histograms of the scores on background and object of image i, None without masks."""
        return None if masks is None else pixel_histograms(score_map, np.asarray(masks[i].cpu(), np.int8), self.edges)

    def _hits(self, found: ThresholdScan, right1: bool, right5: bool) -> Bool[np.ndarray, "6 256"]:
        """Return at which levels of its scan one image is right, rows as `CURVES`."""
        known = found.largest_iou >= 0.5
        return np.stack([known, known & right1, known & right5, *(found.all_iou >= iou / 100 for iou in IOUS)])

    def reset(self) -> None:
        """Forget all counts and scans."""
        super().reset()
        self.scans = []

    def compute(self) -> LocalizationCounts:
        """Return the counts of all processes."""
        images, boxed, classified, with_top5, ranked, top1, top5 = (int(count) for count in self.counts)
        return LocalizationCounts(
            thresholds=self.thresholds,
            hits=self.hits.cpu().numpy(),
            num_images=images,
            num_boxed=boxed,
            num_classified=classified,
            num_top5=with_top5,
            num_ranked=ranked,
            top1=top1,
            top5=top5,
            star_hits=self.star_hits.cpu().numpy(),
            pixel_hist=self.pixel_hist.cpu().numpy(),
            saliency=self.saliency.cpu().numpy(),
            iou=self.iou.cpu().numpy(),
            choose_by=self.choose_by,
        )


def _scan(score_map: np.ndarray, boxes: Int[np.ndarray, "_ 4"] | None, name: str) -> ThresholdScan | None:
    """Scan a map at all thresholds; without ground-truth boxes only check it."""
    if boxes is None:
        check_map(score_map, name)
        return None
    return scan_thresholds(score_map, boxes, name)


def _saliency(score_map: np.ndarray, boxes: Int[np.ndarray, "_ 4"] | None) -> Int[np.ndarray, "2"]:
    """Return the saliency measures of an image in units of `UNIT`; zeros without boxes."""
    if boxes is None or not len(boxes):
        return np.zeros(len(SALIENCY), np.int64)
    return np.array([round(measure(score_map, boxes) / UNIT) for measure in SALIENCY.values()], np.int64)


def _as_arrays(score_maps: Tensor | Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    if not isinstance(score_maps, Tensor):
        return score_maps
    maps = score_maps.detach().cpu()
    return [*(maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps).numpy()]


def summarize(test: LocalizationCounts, val: LocalizationCounts | None) -> dict[str, float]:
    """Return the metrics by name, in percent where a percentage is meant.

    Plain names use thresholds chosen on `val`: `threshold`, the best for `val.choose_by`, for the localization errors and
    max_box_acc; each IoU's own best for max_box_acc_iou30, 50, 70; the best pair for loc_top5_star_error. Names that end in
    `_oracle` use `test`'s own best thresholds. Without `val` there are only the latter. PxAP and the saliency measures have no
    threshold. What cannot be known is left out: box metrics without boxes, classification and top-1 / top-5 localization errors
    without predicted classes, PxAP and the masks' IoU and F1 without masks. Where val has masks and no boxes, `threshold` is the
    best for their IoU.
    """
    out = {"num_images": float(test.num_images), "num_boxed": float(test.num_boxed)}
    right = {1: (test.num_classified, test.top1), 5: (test.num_top5, test.top5)}
    known = [k for k, (count, _) in right.items() if 0 < count == test.num_images]
    out |= {f"cls_top{k}_error": 100 - 100 * right[k][1] / test.num_images for k in known}
    if test.pixel_hist.any():
        out["pxap"] = pixel_average_precision(test.pixel_hist)
    if test.num_boxed:
        fractions = test.saliency * UNIT / test.num_boxed
        out |= {name: 100 * float(fraction) for name, fraction in zip(SALIENCY, fractions, strict=True)}
    for suffix, chooser in (("", val), ("_oracle", test)):
        if chooser is None or not test.is_measured or not chooser.is_measured:
            continue
        # the oracle is the best for what is reported, whatever chooses
        chosen = chooser.best("gt_known") if suffix and test.num_boxed else chooser.best_threshold()
        if test.has_masks:
            for name, values in zip(("mask_iou", "mask_f1"), test.mask_overlaps(), strict=True):
                # the oracle takes each metric's own best
                out[f"{name}{suffix}"] = float(values.max() if suffix else values[chosen])
        if chooser.num_boxed or not test.num_boxed:
            out[f"threshold{suffix}"] = float(test.thresholds[chosen])
        if not test.num_boxed or not chooser.num_boxed:
            continue
        out[f"gt_known_error{suffix}"] = 100 - float(test.accuracy("gt_known")[chosen])
        for k in known:
            # the oracle takes each curve's own best, as papers do
            at = chosen if chooser is val else chooser.best(f"loc_top{k}")
            out[f"loc_top{k}_error{suffix}"] = 100 - float(test.accuracy(f"loc_top{k}")[at])
        if test.num_ranked == test.num_images and chooser.num_ranked:
            pair = best_pair(chooser.star_hits)
            out[f"loc_top5_star_error{suffix}"] = 100 - 100 * float(test.star_hits[pair]) / test.num_boxed
        out[f"max_box_acc{suffix}"] = float(test.accuracy("gt_known")[chosen])
        each = [float(test.accuracy(f"iou{iou}")[chooser.best(f"iou{iou}")]) for iou in IOUS]
        out |= {f"max_box_acc_iou{iou}{suffix}": value for iou, value in zip(IOUS, each, strict=True)}
        out[f"max_box_acc_v2{suffix}"] = sum(each) / len(each)
    return out
