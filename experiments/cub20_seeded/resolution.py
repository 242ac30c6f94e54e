"""Localize the training and val images of seeded runs at several sizes and views, and measure the boxes. The test part is not read.

    python experiments/cub20_seeded/resolution.py runs/seed0 runs/seed1 ... --sides 160 224 --frames 112 160
    python experiments/cub20_seeded/resolution.py runs/seed0 ... --sides 224 --frames 160 --views flip flip_scales --maps b1+b2+c bag_cams

Prints, for each map, views and frame of PAMR, the GT-known error and MaxBoxAccV2 at the thresholds that are best on the same images.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from criteria import boxes_of, iou
from omegaconf import OmegaConf

from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.config.build import build_data
from spg_lightning.data.images import batches
from spg_lightning.localizer import Localizer
from spg_lightning.score_maps import PAMR, BagCAMs, MinMax, Views, processed, resolve

VIEWS = {"none": None, "flip": Views(True, [1]), "flip_scales": Views(True, [0.75, 1, 1.5])}
BATCH = 16


def accuracies(boxes: list[np.ndarray], truth: list[np.ndarray]) -> tuple[float, float]:
    """Return the GT-known error and MaxBoxAccV2 in percent, of boxes at all thresholds, (100, 4) an image."""
    found = np.stack([iou(b[:, None], t[None].astype(float)).max(1) for b, t in zip(boxes, truth, strict=True)])
    best = [100 * (found >= level / 100).mean(0).max() for level in (30, 50, 70)]
    return 100 - best[1], float(np.mean(best))


def main(run: Path, side: int, frames: list[int], maps: list[str], views: list[str], images: int) -> None:
    network, metadata = load_network(run / "checkpoints" / "last.ckpt")
    cfg = OmegaConf.create(metadata.config)
    cfg.data.resize, cfg.data.crop = side * cfg.data.resize // cfg.data.crop, side
    data = build_data(cfg)
    data.setup()
    refinements = {str(frame): PAMR(10, [1, 2, 4, 8, 12, 24], 0.1, frame) for frame in frames}
    resolved = resolve(maps, network.branches, {"bag_cams": BagCAMs()})
    candidates = processed(resolved, {"minmax": MinMax()}, refinements, {name: VIEWS[name] for name in views})
    localizer = Localizer(network, candidates)
    for split in ("train", "val"):
        boxes: dict[str, list] = {name: [] for name in localizer.score_maps}
        truth: list[np.ndarray] = []
        for batch in islice(batches(data.dataset(split), BATCH), -(-images // BATCH)):
            with localizer.context(batch["image"]) as context:
                for name in boxes:
                    boxes[name] += [boxes_of(values) for values in context.map(name, batch["label"])[:, 0].numpy()]
            truth += batch["true_boxes"]
        for name in boxes:
            error, accuracy = accuracies(boxes[name], truth)
            print(f"{run.name} {side} px {split:5s} {name:26s} {error:5.1f} / {accuracy:4.1f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--sides", nargs="+", type=int, default=[160, 224])
    parser.add_argument("--frames", nargs="+", type=int, default=[112, 160])
    parser.add_argument("--maps", nargs="+", default=["b2", "c", "b1+b2+c"])
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=["none"])
    parser.add_argument("--images", type=int, default=10**6, help="at most so many of a split")
    arguments = parser.parse_args()
    for folder in arguments.runs:
        for size in arguments.sides:
            main(folder, size, arguments.frames, arguments.maps, arguments.views, arguments.images)
