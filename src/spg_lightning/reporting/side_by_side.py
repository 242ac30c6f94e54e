"""The same photos through several networks, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spg_lightning.data.photos import Sample
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.localization.threshold_scan import box_in_photo, scan_thresholds
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import SIDE
from spg_lightning.reporting.samples import evenly_spaced_indices
from spg_lightning.score_maps.context import score_map_context
from spg_lightning.spg.network import SPGNetwork


@dataclass(frozen=True)
class Column:
    """One column of the sheet: a network, one of its score maps, the threshold of its boxes."""

    title: str
    network: SPGNetwork
    score_map: str
    threshold: float


def write_comparison(
    path: Path, data: ImageDataModule, columns: Sequence[Column], count: int, row_a_method: bool = False
) -> None:
    """Write a sheet: a row a test photo, first the photo with its ground truth, then each column's map, box and IoU.

    Args:
        path: of the picture.
        data: whose test photos are shown.
        columns: networks and maps.
        count: of photos, spread evenly over the test part.
        row_a_method: turn the sheet: a row a column, for many methods.
    """
    dataset = data.dataset("test")
    rows = [
        [("ground truth", _truth(data, sample)), *((column.title, _found(data, sample, column)) for column in columns)]
        for index in evenly_spaced_indices(len(dataset), count)
        if (sample := dataset[index]) is not None
    ]
    if row_a_method:
        # a row's title stands once, over its first photo
        turned = [list(row) for row in zip(*rows, strict=True)]
        rows = [[row[0], *(("", panel) for _, panel in row[1:])] for row in turned]
    sheet = np.concatenate([overlay.panel_row(row, SIDE) for row in rows])
    Image.fromarray(np.concatenate([sheet, overlay.legend(sheet.shape[1], overlay.BOXES)])).save(path)


def _truth(data: ImageDataModule, sample: Sample) -> overlay.Photo:
    return overlay.boxes(_photo(sample), _true_boxes(data, sample))


def _found(data: ImageDataModule, sample: Sample, column: Column) -> overlay.Photo:
    """Return the photo under the column's map, with ground truth, box and IoU."""
    images = column.network.stem.normalize(sample["image"][None])
    with score_map_context(column.network, images, [column.score_map]) as seen:
        score_map = seen.map(column.score_map, torch.tensor([sample["label"]]))[0, 0].numpy()
    inside, iou = scan_thresholds(score_map, data.ground_truth("test", [sample["index"]])[0]).box_at(column.threshold)
    box = [c * SIDE / data.crop for c in box_in_photo(inside, data.frame, data.frame)]
    hot = overlay.heat(_photo(sample), overlay.resize_map(score_map, SIDE, SIDE))
    return overlay.boxes(hot, [*_true_boxes(data, sample), (box, overlay.FOUND, f"IoU {iou:.2f}")])


def _photo(sample: Sample) -> overlay.Photo:
    return overlay.resize(sample["image"].permute(1, 2, 0).numpy(), SIDE, SIDE)


def _true_boxes(data: ImageDataModule, sample: Sample) -> list[tuple[list[float], tuple[int, int, int], str]]:
    truth = data.ground_truth("test", [sample["index"]])[0]
    return [([c * SIDE / data.crop for c in box], overlay.TRUTH, "") for box in truth]
