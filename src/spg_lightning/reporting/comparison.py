"""The same photos through several networks, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spg_lightning.datamodule import PhotoDataModule
from spg_lightning.localization.scan import box_in_photo, scan
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import SIDE
from spg_lightning.reporting.views import spread
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.spg.score_maps import SCORE_MAPS


@dataclass(frozen=True)
class Column:
    """One column of the sheet: a network, one of its score maps, the threshold of its boxes."""

    title: str
    network: SPGNetwork
    score_map: str
    threshold: float


@torch.no_grad()
def write_comparison(path: Path, data: PhotoDataModule, columns: Sequence[Column], count: int) -> None:
    """Write a sheet: a row a test photo, first the photo with its ground truth, then each column's map, box and IoU."""
    rows = []
    dataset = data.dataset("test")
    scale = SIDE / data.crop
    for index in spread(len(dataset), count):
        sample = dataset[index]
        if sample is None:
            continue
        photo = overlay.resize(sample["image"].permute(1, 2, 0).numpy(), SIDE, SIDE)
        truth = data.ground_truth("test", [index])[0]
        true_boxes = [([c * scale for c in box], overlay.TRUTH, "") for box in truth]
        panels = [("ground truth", overlay.boxes(photo, true_boxes))]
        for column in columns:
            stem = column.network.stem
            values = SCORE_MAPS[column.score_map].compute(
                column.network(stem.normalize(sample["image"][None])), torch.tensor([sample["label"]])
            )
            score_map = values[0, 0].numpy()
            found = scan(score_map, truth)
            inside, iou = found.at(column.threshold)
            box = [c * scale for c in box_in_photo(inside, data.frame, data.frame)]
            drawn = [*true_boxes, (box, overlay.FOUND, f"IoU {iou:.2f}")]
            hot = overlay.heat(photo, overlay.resize_map(score_map, SIDE, SIDE))
            panels.append((column.title, overlay.boxes(hot, drawn)))
        rows.append(overlay.strip(panels, SIDE))
    Image.fromarray(np.concatenate(rows)).save(path)
