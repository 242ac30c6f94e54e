"""Write run folders as training does, with the numbers a test wants."""

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from spg_lightning import compose

MAPS = ("attention", "b1")


@cache
def config_of(*overrides: str) -> dict:
    """Return a resolved config of `train`. Do not change it: it is cached."""
    return OmegaConf.to_container(compose("train", [*overrides, "output_dir=x"]), resolve=True)


def write_run(
    folder: Path,
    config: dict,
    seed: int,
    gt_known: float,
    *,
    pxap: float | None = None,
    chosen: str = "b1",
    started: str = "2025-01-01T00:00:00+00:00",
    images: tuple[str, ...] = ("001.Wren_a", "002.Tit_b"),
) -> Path:
    """Write one run: map b1 misses `gt_known` percent of the test images, attention ten points more."""
    folder.mkdir(parents=True)
    OmegaConf.save({**config, "seed": seed, "data": {**config["data"], "seed": seed}}, folder / "config.yaml")
    numbers: dict[str, float] = {}
    for split in ("val", "test"):
        flat = {}
        for name in MAPS:
            error = gt_known + 10 * (name != "b1") + 1 * (split == "val")
            of_map = {
                "num_images": 200.0,
                "gt_known_error": error,
                "loc_top1_error": error + 2,
                "max_box_acc_v2": 90 - error,
            }
            of_map |= {"loc_top5_error": error + 1, "cls_top1_error": 20.0, "cls_top5_error": 5.0}
            if split == "test":
                of_map |= {"gt_known_error_oracle": error - 1} | ({} if pxap is None else {"pxap": pxap})
            flat |= {f"{split}/{name}/{key}": value for key, value in of_map.items()}
            if name == chosen:
                numbers |= {f"{split}/{key}": value for key, value in of_map.items()}
        numbers |= flat
    numbers |= {
        "test/floor_whole_gt_known_error": 80.0,
        "test/floor_center_gt_known_error": 45.0 + seed,
        "test/floor_center_gt_known_error_oracle": 44.0,
    }
    (folder / "metrics.json").write_text(json.dumps(numbers))
    facts = {
        "commit": "0123456789abcdef", "versions": {"torch": "2.11.0", "numpy": "2.0.0"}, "device": "cpu, 2 threads",
        "seed": seed, "started": started, "score_map": chosen, "photos": {"train": 500, "val": 100, "test": 200},
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(facts))
    _write_csv(
        folder / "curves.csv",
        ["split", "score_map", "threshold", "num_images", "gt_known"],
        [
            [split, name, t, 200, round(2 * (100 - gt_known) * (1 - abs(2 * t - 1)))]
            for split in ("val", "test")
            for name in MAPS
            for t in np.linspace(0, 1, 11).round(2)
        ],
    )
    _write_csv(
        folder / "metrics.csv",
        ["epoch", "lr", "step", "train/loss_cls", "train/loss_total", "val/b1/gt_known_error", "val/gt_known_error"],
        [
            ["", 0.1, 4, "", "", "", ""],
            [0, "", 4, 2.0 + seed, 3.0, "", ""],
            [0, "", 9, 1.0 + seed, 2.0, "", ""],
            [0, "", 9, "", "", gt_known, gt_known],
        ],
    )
    (folder / "gallery").mkdir()
    for k, name in enumerate((*images, "overview")):
        picture = np.full((40, 60 + 20 * (chosen == "b1"), 3), 60 * k, np.uint8)
        Image.fromarray(picture).save(folder / "gallery" / f"{name}.png")
    return folder


def _write_csv(path: Path, header: list, rows: list) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
