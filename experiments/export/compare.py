"""Compare exported models with the checkpoint on photos: score maps, classes, boxes and time. See README.md."""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from spg_lightning import Localizer, compose, export
from spg_lightning.checkpoints.metadata import CheckpointMetadata, write_weights
from spg_lightning.config.build import build_network
from spg_lightning.data.images import read_image
from spg_lightning.exporting.formats import FORMATS
from spg_lightning.localizer import resize_to_square

BATCH = 8
ENDINGS = (".jpg", ".jpeg", ".png")


def write_untrained(stem: str, folder: Path) -> Path:
    """Write a checkpoint of an SPG network with random weights, the same for every call."""
    choices = [f"stem={stem.split(':')[0]}", "stem.weights=none", "output_dir=unused"]
    if ":" in stem:
        choices.append(f"stem.name={stem.split(':')[1]}")
    cfg = compose("train", choices)
    torch.manual_seed(0)
    network = build_network(cfg, num_classes=20).eval()
    config = OmegaConf.to_container(cfg, resolve=True)
    chosen = {"score_map": "attention", "threshold": 0.2}
    path = folder / f"{stem.replace(':', '_')}.safetensors"
    names = tuple(str(k) for k in range(20))
    write_weights(path, CheckpointMetadata(config, names, int(cfg.dataset.crop), chosen), network.state_dict())
    return path


def compare(checkpoint: Path, name: str, exported: dict[str, Localizer], photos: list[Path]) -> list[dict[str, object]]:
    """Return a row for each exported model."""
    reference = Localizer.load(checkpoint)
    side = reference.crop
    rows = {
        kind: {
            "model": name,
            "format": kind,
            "photos": 0,
            "map": 0.0,
            "map_own": 0.0,
            "probability": 0.0,
            "above_1e-4": [],
            "classes": [],
            "boxes": [],
        }
        for kind in exported
    }
    times: dict[str, list[float]] = {kind: [] for kind in ("torch", *exported)}
    for start in range(0, len(photos), BATCH):
        batch = photos[start : start + BATCH]
        images = [read_image(path, apply_exif_orientation=True) for path in batch]
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        frames = np.stack([resize_to_square(image, side) for image in images])
        truth = _timed(reference, frames, sizes, times["torch"])
        for kind, localizer in exported.items():
            row = rows[kind]
            row["map_own"] = max(row["map_own"], _own_resizing(localizer, images[0], truth[0][0]))
            for path, (one,), (other,) in zip(batch, truth, _timed(localizer, frames, sizes, times[kind]), strict=True):
                row["photos"] += 1
                row["probability"] = max(
                    row["probability"], float(np.abs(one.probabilities - other.probabilities).max())
                )
                if one.class_index != other.class_index:
                    row["classes"].append(path.name)
                    continue
                difference = float(np.abs(one.score_map - other.score_map).max())
                row["map"] = max(row["map"], difference)
                row["above_1e-4"] += [f"{path.name} {difference:.1e}"] * (difference > 1e-4)
                if one.box != other.box:
                    row["boxes"].append(path.name)
    medians = {kind: float(np.median(values[1:] or values)) / BATCH for kind, values in times.items()}
    for kind, row in rows.items():
        row |= {"torch_ms": 1000 * medians["torch"], "ms": 1000 * medians[kind]}
        row["times_as_fast"] = medians["torch"] / medians[kind]
    return list(rows.values())


def _own_resizing(localizer, image, truth) -> float:
    """Return the largest difference of the map of an image that the program resizes itself."""
    _, classes, maps, _ = localizer._runtime(np.ascontiguousarray(image[None]))
    return float(np.abs(maps[0, 0] - truth.score_map).max()) if classes[0, 0] == truth.class_index else 0.0


def _timed(localizer, frames, sizes, times):
    start = time.perf_counter()
    output = localizer.run(frames, 1)
    if len(frames) == BATCH:
        times.append(time.perf_counter() - start)
    localizer.run, run = lambda *_: output, localizer.run  # the boxes of what was timed
    found = localizer.localize_frames(frames, sizes)
    localizer.run = run
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder, searched recursively")
    parser.add_argument("--limit", type=int, default=0, help="photos, spread evenly; 0: all")
    parser.add_argument("--checkpoint", type=Path, help="of a trained run")
    parser.add_argument(
        "--stems", nargs="*", default=[], help="untrained ones: efficientnet_lite0, timm:mobilenetv3_small_100"
    )
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--reuse", action="store_true", help="compare the models that the folder holds")
    parser.add_argument("--output", type=Path, required=True, help="folder of models and results.csv")
    args = parser.parse_args()
    photos = sorted(path for path in args.photos.rglob("*") if path.suffix.lower() in ENDINGS)
    if args.limit:
        photos = [photos[i] for i in np.linspace(0, len(photos) - 1, args.limit).astype(int)]
    args.output.mkdir(parents=True, exist_ok=True)
    models = {"trained": args.checkpoint} if args.checkpoint else {}
    rows = []
    for name in [*models, *args.stems]:
        checkpoint = models.get(name) or write_untrained(name, args.output)
        exported = {}
        for kind in args.formats:
            file = args.output / f"{name.replace(':', '_')}{FORMATS[kind][0]}"
            choices = [f"checkpoint={checkpoint}", f"format={kind}", f"output={file}", f"output_dir={args.output}"]
            start = time.perf_counter()
            if not (args.reuse and file.is_file()):
                export(compose("export", choices))
            exported[kind] = Localizer.load(file)
            print(f"{name} {kind}: exported in {time.perf_counter() - start:.0f} s", flush=True)
        for row in compare(checkpoint, name, exported, photos):
            rows.append(row)
            print(row, flush=True)
        with (args.output / "results.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
