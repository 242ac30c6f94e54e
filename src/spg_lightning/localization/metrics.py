"""Localization and classification metrics as one torchmetrics metric whose states are integer sums.

Sums of integers do not depend on order: any split of the images over batches and processes gives identical numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from spg_lightning.localization.pixels import histogram_edges, pixel_average_precision, pixel_histograms
from spg_lightning.localization.scan import default_thresholds, scan

IOUS = (30, 50, 70)
# rows of `hits`: the first three take the largest contour at IoU 0.5, the others any contour (MaxBoxAccV2)
CURVES = ("gt_known", "loc_top1", "loc_top5", "iou30", "iou50", "iou70")


@dataclass  # not frozen: torchmetrics refuses to pass on frozen ones
class Curves:
    """What an evaluation counted.

    Attributes:
        thresholds: (T,) in [0, 1).
        hits: (6, T) images localized rightly at each threshold, rows as `CURVES`.
        num_images: how many images were counted.
        top1, top5: images classified rightly.
        pixels: (2, bins) histograms of scores on background and foreground; zeros where there were no masks.
    """

    thresholds: Float[np.ndarray, " T"]
    hits: Int[np.ndarray, "6 T"]
    num_images: int
    top1: int
    top5: int
    pixels: Int[np.ndarray, "2 bins"]

    def accuracy(self, curve: str) -> Float[np.ndarray, " T"]:
        """Return a curve in percent of the images."""
        return 100 * self.hits[CURVES.index(curve)] / max(self.num_images, 1)

    def best(self, curve: str) -> int:
        """Return the index of the best threshold of a curve: the middle of the longest run where it is highest."""
        row = self.hits[CURVES.index(curve)]
        at_best = np.flatnonzero(row == row.max())
        runs = np.split(at_best, np.flatnonzero(np.diff(at_best) > 1) + 1)
        longest = max(runs, key=len)
        return int(longest[len(longest) // 2])


class LocalizationMetric(Metric):
    """Counts, over images and at all thresholds, where a score map's boxes meet the ground truth.

    Args:
        num_thresholds: how finely thresholds are spaced; the benchmark's default is 1000.
    """

    full_state_update = False

    def __init__(self, num_thresholds: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thresholds = default_thresholds(num_thresholds)
        self.edges = histogram_edges(self.thresholds)
        zeros = torch.zeros(len(CURVES), len(self.thresholds), dtype=torch.int64)
        self.hits: Tensor
        self.pixels: Tensor
        self.counts: Tensor  # images, right among the first, right among the first five
        self.add_state("hits", zeros, dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros(2, len(self.edges) - 1, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        score_maps: Float[Tensor, "B Y X"],
        boxes: Sequence[Int[np.ndarray, "n 4"]],
        top1: Bool[Tensor, " B"],
        top5: Bool[Tensor, " B"],
        masks: Bool[Tensor, "B Y X"] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            score_maps: the map of the label, in [0, 1]. Top-1 and top-5 localization need no other: an image counts only
                if the label is among the predicted classes, and then that class's own map is the label's.
            boxes: each image's ground truth in the map's pixels, x0 y0 x1 y1.
            top1, top5: whether the label is the most probable class, among the five most probable ones.
            masks: the objects' pixels, for PxAP.

        Raises:
            UserError: a map outside [0, 1].
        """
        maps = score_maps.detach().float().cpu().numpy()
        right1, right5 = top1.cpu().numpy(), top5.cpu().numpy()
        hits = np.zeros(self.hits.shape, np.int64)
        pixels = np.zeros(self.pixels.shape, np.int64)
        for i, score_map in enumerate(maps):
            found = scan(score_map, boxes[i])
            levels = found.levels(self.thresholds)
            known = found.largest_iou[levels] >= 0.5
            hits[0] += known
            hits[1] += known & right1[i]
            hits[2] += known & right5[i]
            for row, iou in enumerate(IOUS, start=3):
                hits[row] += found.all_iou[levels] >= iou / 100
            if masks is not None:
                pixels += pixel_histograms(score_map, masks[i].cpu().numpy(), self.edges)
        self.hits += torch.from_numpy(hits).to(self.device)
        self.pixels += torch.from_numpy(pixels).to(self.device)
        self.counts += torch.tensor([len(maps), right1.sum(), right5.sum()], device=self.device)

    def compute(self) -> Curves:
        """Return the counts of all processes."""
        images, top1, top5 = (int(count) for count in self.counts)
        return Curves(self.thresholds, self.hits.cpu().numpy(), images, top1, top5, self.pixels.cpu().numpy())


def summarize(test: Curves, val: Curves | None) -> dict[str, float]:
    """Return the metrics by name, in percent where a percentage is meant.

    Plain names use thresholds chosen on `val`: `threshold`, the best for GT-known, for the localization errors and
    max_box_acc; each IoU's own best for max_box_acc_iou30, 50, 70. Names that end in `_oracle` use `test`'s own best
    thresholds. Without `val` there are only the latter.
    """
    n = max(test.num_images, 1)
    out = {
        "num_images": float(test.num_images),
        "cls_top1_error": 100 - 100 * test.top1 / n,
        "cls_top5_error": 100 - 100 * test.top5 / n,
    }
    if test.pixels.any():
        out["pxap"] = pixel_average_precision(test.pixels)
    for suffix, chooser in (("", val), ("_oracle", test)):
        if chooser is None:
            continue
        chosen = chooser.best("gt_known")
        out[f"threshold{suffix}"] = float(test.thresholds[chosen])
        out[f"gt_known_error{suffix}"] = 100 - float(test.accuracy("gt_known")[chosen])
        for k in (1, 5):
            # the oracle takes each curve's own best, as papers do
            at = chosen if chooser is val else chooser.best(f"loc_top{k}")
            out[f"loc_top{k}_error{suffix}"] = 100 - float(test.accuracy(f"loc_top{k}")[at])
        out[f"max_box_acc{suffix}"] = float(test.accuracy("gt_known")[chosen])
        each = [float(test.accuracy(f"iou{iou}")[chooser.best(f"iou{iou}")]) for iou in IOUS]
        out |= {f"max_box_acc_iou{iou}{suffix}": value for iou, value in zip(IOUS, each, strict=True)}
        out[f"max_box_acc_v2{suffix}"] = sum(each) / len(each)
    return out
