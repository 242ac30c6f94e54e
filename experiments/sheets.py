"""Sheets that show the same test images localized by several networks or score maps, for the experiments beside this file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spg_lightning.data.images import Sample
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.localization.threshold_scan import box_in_photo, scan_thresholds
from spg_lightning.localizer import Localizer
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import SIDE
from spg_lightning.reporting.samples import evenly_spaced_indices


@dataclass(frozen=True)
class Column:
    """One column of the sheet."""

    title: str
    localizer: Localizer


def write_comparison(
    path: Path, data: ImageDataModule, columns: Sequence[Column], count: int, transpose: bool = False
) -> None:
    """Write a sheet with a row per test image: ground truth, then each column's map, box and IoU.

    Args:
        path: of the sheet.
        data: its test images are shown.
        columns: in the order of the sheet.
        count: of images, spread evenly over the test split.
        transpose: a row per column instead, for many of them.
    """
    dataset = data.dataset("test")
    rows = [
        [("ground truth", _truth(data, sample)), *((c.title, _localized(data, sample, c.localizer)) for c in columns)]
        for index in evenly_spaced_indices(len(dataset), count)
        if (sample := dataset[index]) is not None
    ]
    if transpose:
        # a row's title stands once, over its first image
        turned = [list(row) for row in zip(*rows, strict=True)]
        rows = [[row[0], *(("", panel) for _, panel in row[1:])] for row in turned]
    sheet = np.concatenate([overlay.panel_row(row, SIDE) for row in rows])
    Image.fromarray(np.concatenate([sheet, overlay.legend(sheet.shape[1], overlay.BOXES)])).save(path)


def _truth(data: ImageDataModule, sample: Sample) -> overlay.Photo:
    return overlay.boxes(_photo(sample), _true_boxes(data, sample))


def _localized(data: ImageDataModule, sample: Sample, localizer: Localizer) -> overlay.Photo:
    """Return the image under the score map of its label, with ground truth, box and IoU."""
    score_map = localizer.maps(sample["image"][None], [sample["label"]])[0]
    scan = scan_thresholds(score_map, data.ground_truth("test", [sample["index"]])[0])
    inside, iou = scan.box_at(localizer.threshold)
    box = [c * SIDE / data.crop for c in box_in_photo(inside, data.frame, data.frame)]
    hot = overlay.heat(_photo(sample), overlay.resize_map(score_map, SIDE, SIDE))
    return overlay.boxes(hot, [*_true_boxes(data, sample), (box, overlay.PREDICTED, f"IoU {iou:.2f}")])


def _photo(sample: Sample) -> overlay.Photo:
    return overlay.resize(sample["image"].permute(1, 2, 0).numpy(), SIDE, SIDE)


def _true_boxes(data: ImageDataModule, sample: Sample) -> list[tuple[list[float], tuple[int, int, int], str]]:
    truth = data.ground_truth("test", [sample["index"]])[0]
    return [([c * SIDE / data.crop for c in box], overlay.TRUTH, "") for box in truth]
