"""Choose map and threshold on val by criteria that need no boxes, and measure each choice on the boxes of the training images.

    python experiments/cub20_seeded/criteria.py runs/seed0 runs/seed1 ...

Prints for each run and criterion the chosen map, its threshold, and the GT-known error on the training images; the regret is the
difference from the best map and threshold there. The test part is not read.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from torch.nn import functional as F

from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.config.build import build_data, build_training_free
from spg_lightning.data.images import batches
from spg_lightning.data.stored_maps import LEVELS
from spg_lightning.localization.threshold_scan import NO_BOXES, scan_thresholds
from spg_lightning.localizer import Localizer
from spg_lightning.score_maps import PAMR, MinMax, processed, resolve

NAMES = ["b2", "c", "fused", "b1+b2+c"]
THRESHOLDS = np.arange(100) / 100
TRIED = np.array([8, 14, 20, 26, 32, 40, 50, 60])  # thresholds in percent whose masks are classified again
PSEUDO = (20, 30, 45)  # thresholds of the training-free boxes in percent


def boxes_of(score_map: np.ndarray) -> np.ndarray:
    """Return the box of a map at every threshold, (100, 4)."""
    scan = scan_thresholds(score_map, NO_BOXES)
    return np.array([scan.box_at(threshold)[0] for threshold in THRESHOLDS], float)


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes (..., 4), pixels counted inclusively."""
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]) + 1
    both = sides.clip(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2] + 1).prod(-1) for box in (one, other)]
    return both / (areas[0] + areas[1] - both)


def errors(boxes: np.ndarray, truth: list[np.ndarray]) -> np.ndarray:
    """Return the GT-known error in percent at every threshold, of boxes (N, 100, 4)."""
    hits = [iou(own[:, None], true[None].astype(float)).max(1) >= 0.5 for own, true in zip(boxes, truth, strict=True)]
    return 100 - 100 * np.mean(hits, axis=0)


def evidence(network, images, values, labels) -> np.ndarray:
    """Return, for masks at `TRIED`, the label's probability of what they keep and of the rest, and their area: (B, 8, 3)."""
    inputs, rows = network.stem.normalize(images), []
    mean = inputs.mean((2, 3), keepdim=True)
    for threshold in TRIED / 100:
        mask = F.avg_pool2d((values >= threshold * values.amax((2, 3), keepdim=True)).float(), 5, 1, 2)
        with torch.no_grad():
            seen = [network(inputs * m + mean * (1 - m), ()).logits.softmax(1) for m in (mask, 1 - mask)]
        rows.append(torch.stack([*(p.gather(1, labels[:, None])[:, 0] for p in seen), mask.mean((1, 2, 3))], 1))
    return torch.stack(rows, 1).numpy()


def criteria(boxes: dict, pseudo: np.ndarray, proofs: dict) -> Iterator[tuple[str, dict]]:
    """Yield each criterion's name and its score of every map at every threshold, higher is better."""
    for at in PSEUDO:
        yield (
            f"training-free boxes at {at / 100}",
            {n: (iou(b, pseudo[:, [at]]) >= 0.5).mean(0) for n, b in boxes.items()},
        )
    area = {n: (b[..., 2:] - b[..., :2] + 1).prod(-1).mean(0) for n, b in boxes.items()}
    largest = max(a.max() for a in area.values())
    sane = {n: (a < 0.8 * largest) & (a > 0.05 * largest) for n, a in area.items()}
    yield (
        "agreement between the maps, mean IoU",
        {n: np.mean([iou(b, boxes[o]).mean(0) for o in boxes if o != n], axis=0) * sane[n] for n, b in boxes.items()},
    )
    median = np.median(np.concatenate([b[:, 10:55:5] for b in boxes.values()], 1), axis=1)[:, None]
    yield "median box of all maps, mean IoU", {n: iou(b, median).mean(0) for n, b in boxes.items()}
    for price in (0, 0.5, 1):
        scores = {}
        for name, proof in proofs.items():
            scores[name] = np.full(100, -np.inf)
            scores[name][TRIED] = (proof[..., 0] - proof[..., 1] - price * proof[..., 2]).mean(0)
        yield f"class probability, kept - hidden - {price} x area", scores
    stable = {}
    for name, b in boxes.items():
        stable[name] = np.zeros(100)
        stable[name][6:-6] = iou(b[:, 6:-6], b[:, 12:]).mean(0) + iou(b[:, 6:-6], b[:, :-12]).mean(0)
    yield "stability over thresholds", {n: s * sane[n] for n, s in stable.items()}


def middle_of_best(row: np.ndarray) -> int:
    """Return the index of the middle of the longest run of maxima."""
    runs = np.split(at := np.flatnonzero(row >= row.max() - 1e-9), np.flatnonzero(np.diff(at) > 1) + 1)
    return int(max(runs, key=len)[len(max(runs, key=len)) // 2])


def main(run: Path) -> None:
    network, metadata = load_network(run / "checkpoints" / "last.ckpt")
    cfg = OmegaConf.create(metadata.config)
    data, training_free = build_data(cfg), build_training_free(cfg)
    data.setup()
    refinements = {"none": None, "pamr": PAMR(10, [1, 2, 4, 8, 12, 24], 0.1, 112)}
    localizer = Localizer(network, processed(resolve(NAMES, network.branches), {"minmax": MinMax()}, refinements))
    boxes: dict[str, dict[str, list]] = {
        split: {name: [] for name in localizer.score_maps} for split in ("val", "train")
    }
    truth: dict[str, list] = {"val": [], "train": []}
    proofs: dict[str, list] = {name: [] for name in localizer.score_maps if name.endswith("pamr")}
    for split in boxes:
        for batch in batches(data.dataset(split), 16):
            with localizer.context(batch["image"]) as context:
                maps = {name: context.map(name, batch["label"]) for name in localizer.score_maps}
            for name, values in maps.items():
                boxes[split][name] += [boxes_of(value) for value in values[:, 0].numpy()]
                if split == "val" and name in proofs:
                    proofs[name].append(evidence(network, batch["image"], values, batch["label"]))
            truth[split] += batch["true_boxes"]
    files, side = training_free.compute(network, data, "val"), (data.crop, data.crop)
    stored = [torch.from_numpy(files(index)[None, None]) / LEVELS for index in range(len(data.records["val"]))]
    pseudo = np.array([boxes_of(F.interpolate(value, side, mode="bilinear")[0, 0].numpy()) for value in stored])
    found = {split: {name: np.array(b) for name, b in of_split.items()} for split, of_split in boxes.items()}
    on_train = {name: errors(b, truth["train"]) for name, b in found["train"].items()}
    best = min(error.min() for error in on_train.values())
    chosen_by_boxes = {name: -errors(b, truth["val"]) for name, b in found["val"].items()}
    others = criteria(found["val"], pseudo, {name: np.concatenate(p) for name, p in proofs.items()})
    for title, scores in [("true boxes", chosen_by_boxes), *others]:
        name = max(scores, key=lambda key: scores[key].max())
        at = middle_of_best(scores[name])
        error = on_train[name][at]
        print(
            f"{run.name}: {title:45s} {name:13s} {at / 100:.2f}  {error:5.1f}  regret {error - best:5.1f}", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    for folder in parser.parse_args().runs:
        main(folder)
