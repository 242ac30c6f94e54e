"""Boxes of training-free maps on val: at fixed thresholds, and at thresholds that rules find in each map alone.

    python experiments/cub20_seeded/own_threshold.py experiment=toybirds_seeded training_free.name=feature_pca

Prints GT-known error and mean IoU of each. Takes any overrides of `train`.
"""

import sys
from collections.abc import Callable

import cv2
import numpy as np

from spg_lightning import build_data, build_network, compose
from spg_lightning.config.build import build_training_free
from spg_lightning.data.stored_maps import LEVELS
from spg_lightning.localization.threshold_scan import scan_thresholds


def otsu(values: np.ndarray) -> float:
    """Return the threshold that separates two classes of the most different means."""
    return cv2.threshold((values * 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)[0] / 255


def li(values: np.ndarray) -> float:
    """Return the threshold of minimum cross entropy, by iteration from the mean (Li and Tam, 1998)."""
    threshold = values.mean()
    for _ in range(100):
        above, below = values[values > threshold].mean(), values[values <= threshold].mean()
        threshold = (above - below) / (np.log(above) - np.log(below + 1e-6))
    return float(threshold)


RULES: dict[str, Callable[[np.ndarray], float]] = {
    **{f"mean + {k} sd": lambda values, k=k: values.mean() + k * values.std() for k in (0.5, 0.6, 0.75, 0.9, 1.0)},
    "twice the mean": lambda values: 2 * values.mean(),
    "Otsu": otsu,
    "Li": li,
}


if __name__ == "__main__":
    cfg = compose("train", [*sys.argv[1:], "output_dir=unused"])
    data, maps = build_data(cfg), build_training_free(cfg)
    data.setup()
    files, dataset = maps.compute(build_network(cfg, len(data.class_names)), data, "val"), data.dataset("val")
    counts = maps.counts(files, data, "val", 100, "gt_known")
    fixed = 100 - counts.accuracy("gt_known")
    for title, at in [("best fixed", counts.best_threshold()), *((f"{at / 100}", at) for at in (20, 30, 35, 40, 50))]:
        print(f"{title:15s} {fixed[at]:5.1f}  at {at / 100}")
    scans = []
    for index in range(len(dataset)):
        values = files(index) / LEVELS
        scans.append((values, scan_thresholds(values, dataset.true_boxes(index) * values.shape[0] // data.crop)))
    for title, rule in RULES.items():
        found = np.array([scan.box_at(min(rule(values) / values.max(), 0.99))[1] for values, scan in scans])
        print(f"{title:15s} {100 - 100 * np.mean(found >= 0.5):5.1f}  IoU {found.mean():.3f}")
