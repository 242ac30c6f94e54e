"""How many images with boxes a choice of map and threshold needs, and by which criterion; and what training-free boxes can do instead.

    python experiments/cub20_seeded/choice.py runs/seed0 runs/seed1 ...

Draws 20, 60 or 120 of the training and val images at random, 100 times a run, lets each criterion choose map and threshold on them, and
measures the choice on the others. Prints the GT-known error, mean and standard deviation, and that of the best map and threshold on
all these images for each run. The test part is not read.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from criteria import boxes_of, iou, middle_of_best
from omegaconf import OmegaConf
from torch.nn import functional as F

from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.config.build import build_data, build_training_free
from spg_lightning.data.images import batches
from spg_lightning.data.stored_maps import LEVELS
from spg_lightning.evaluation.cached_maps import own_threshold
from spg_lightning.localization.threshold_scan import NO_BOXES, scan_thresholds
from spg_lightning.localizer import Localizer
from spg_lightning.score_maps import PAMR, MinMax, processed, resolve

NAMES = ["b2", "c", "b1+b2+c"]
FIXED = (25, 30, 35, 40, 45)  # thresholds of training-free boxes in percent
CRITERIA: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "most boxes right": lambda found: (found >= 0.5).mean(0),
    "most right at IoU 0.3, 0.5, 0.7": lambda found: np.mean(
        [(found >= level).mean(0) for level in (0.3, 0.5, 0.7)], 0
    ),
    "mean IoU": lambda found: found.mean(0),
}


def overlaps(run: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return reference boxes -> map -> IoU with them at each threshold, (N, 100), of all training and val images."""
    network, metadata = load_network(run / "checkpoints" / "last.ckpt")
    cfg = OmegaConf.create(metadata.config)
    data, training_free = build_data(cfg), build_training_free(cfg)
    data.setup()
    refined = processed(
        resolve(NAMES, network.branches), {"minmax": MinMax()}, {"pamr": PAMR(10, [1, 2, 4, 8, 12, 24], 0.1, 160)}
    )
    localizer = Localizer(network, refined)
    boxes: dict[str, list[np.ndarray]] = {name: [] for name in localizer.score_maps}
    truth: list[np.ndarray] = []
    pseudo: dict[str, list[np.ndarray]] = {f"training-free at {at / 100}": [] for at in FIXED} | {
        "training-free, own": []
    }
    for split in ("val", "train"):
        for batch in batches(data.dataset(split), 16):
            with localizer.context(batch["image"]) as context:
                for name in boxes:
                    boxes[name] += [boxes_of(values) for values in context.map(name, batch["label"])[:, 0].numpy()]
            truth += [own.astype(float) for own in batch["true_boxes"]]
        files = training_free.compute(network, data, split)
        for index in range(len(data.records[split])):
            stored = torch.from_numpy(files(index)[None, None]) / LEVELS
            values = F.interpolate(stored, (data.crop, data.crop), mode="bilinear")[0, 0].numpy()
            scan = scan_thresholds(values, NO_BOXES)
            for found, at in zip(pseudo.values(), [*(at / 100 for at in FIXED), own_threshold(values)], strict=True):
                found.append(scan.box_at(at)[0].astype(float))
    result = {"the true boxes": {}} | {source: {} for source in pseudo}
    for name, of_map in boxes.items():
        found = np.array(of_map, float)
        result["the true boxes"][name] = np.stack(
            [iou(own[:, None], true[None]).max(1) for own, true in zip(found, truth, strict=True)]
        )
        for source, references in pseudo.items():
            result[source][name] = iou(found, np.array(references)[:, None])
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    errors: dict[tuple[int, str, str], list[float]] = {}
    for folder in arguments.runs:
        of_run = overlaps(folder)
        right = {name: found >= 0.5 for name, found in of_run["the true boxes"].items()}
        count = len(next(iter(right.values())))
        print(f"{folder.name}: best {100 - 100 * max(hits.mean(0).max() for hits in right.values()):.1f}", flush=True)
        for size in (20, 60, 120):
            for _ in range(arguments.draws):
                drawn, others = np.split(rng.permutation(count), [size])
                for source, of_source in of_run.items():
                    for title, criterion in CRITERIA.items():
                        scores = {name: criterion(found[drawn]) for name, found in of_source.items()}
                        chosen = max(scores, key=lambda name: scores[name].max())
                        at = middle_of_best(scores[chosen])
                        errors.setdefault((size, source, title), []).append(
                            100 - 100 * right[chosen][others, at].mean()
                        )
    for (size, source, title), values in errors.items():
        print(f"{size:3d} images  {source:22s} {title:32s} {np.mean(values):5.1f} ± {np.std(values):.1f}")
