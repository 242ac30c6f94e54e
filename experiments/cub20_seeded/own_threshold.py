"""Boxes of training-free maps at fixed thresholds and at each map's own: GT-known error and mean IoU on val and training images.

python experiments/cub20_seeded/own_threshold.py experiment=toybirds_seeded training_free.name=feature_pca
"""

import sys

import numpy as np

from spg_lightning import build_data, build_network, compose
from spg_lightning.config.build import build_training_free
from spg_lightning.data.stored_maps import LEVELS
from spg_lightning.evaluation import cached_maps
from spg_lightning.localization.threshold_scan import scan_thresholds

if __name__ == "__main__":
    cfg = compose("train", [*sys.argv[1:], "output_dir=unused"])
    data, maps = build_data(cfg), build_training_free(cfg)
    data.setup()
    network = build_network(cfg, len(data.class_names))
    for split in ("val", "train"):
        files, dataset = maps.compute(network, data, split), data.dataset(split)
        counts = maps.counts(files, data, split, 100, "gt_known")
        best = counts.best_threshold()
        print(f"{split}: fixed, best at {best / 100}: {100 - counts.accuracy('gt_known')[best]:.1f}, ", end="")
        print(*(f"{at / 100}: {100 - counts.accuracy('gt_known')[at]:.1f}" for at in (20, 30, 35, 40, 50)), sep=", ")
        stored = [files(index) / LEVELS for index in range(len(dataset))]
        side = stored[0].shape[0]
        truth = [dataset.true_boxes(index) * side // data.crop for index in range(len(dataset))]
        for deviations in (0.5, 0.6, 0.75, 0.9, 1.0):
            cached_maps.DEVIATIONS = deviations
            found = [
                scan_thresholds(values, boxes).box_at(cached_maps.own_threshold(values))[1]
                for values, boxes in zip(stored, truth, strict=True)
            ]
            print(
                f"{split}: own, mean + {deviations} sd: {100 - 100 * np.mean(np.array(found) >= 0.5):.1f}, IoU {np.mean(found):.3f}"
            )
