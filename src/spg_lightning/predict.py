"""Prediction: boxes on photos, overlays, JSON and COCO results."""

import glob
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from rich.progress import track

from spg_lightning.checkpoints import CheckpointMetadata
from spg_lightning.config.build import load_network
from spg_lightning.config.command_line import run_command
from spg_lightning.config.validation import check_ranges
from spg_lightning.data.photos import read_image
from spg_lightning.data.records import IMAGE_EXTENSIONS
from spg_lightning.data.transforms import test_transform
from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import box_in_photo, scan_thresholds
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.score_maps.context import SCORE_MAPS, resolve, score_map_context
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.utils.device import device_of
from spg_lightning.utils.provenance import write_json

log = logging.getLogger(__name__)
OTHER_BOX = (200, 200, 200)  # of the classes after the first
NO_BOXES = np.zeros((0, 4), np.int64)


@dataclass(frozen=True)
class Prediction:
    """One class of one photo.

    Attributes:
        image: path as it was found.
        rank: 1 for the most probable class.
        class_name: its name; `class_index` its number in the checkpoint.
        score: probability in [0, 1].
        box: x0 y0 x1 y1 in pixels of the photo.
        overlay, map_file: what was written for it; map_file is empty unless maps are saved.
    """

    image: str
    rank: int
    class_name: str
    class_index: int
    score: float
    box: tuple[float, float, float, float]
    overlay: str
    map_file: str


def predict(cfg: DictConfig) -> list[Prediction]:
    """Localize the objects of photos as `conf/predict.yaml` describes it.

    Writes `overlays/`, `predictions.json` and `coco_results.json` (with `coco_images.json`: which id is which photo) into
    `cfg.output_dir`. A broken photo is named and left out.

    Raises:
        UserError: no checkpoint, no photo, or a map the checkpoint cannot give.
    """
    check_ranges(cfg)
    network, description = load_network(cfg.checkpoint)
    photos = find_photos(str(cfg.images))
    chosen = description.localization
    # auto is what validation chose, which the checkpoint knows
    wanted = None if cfg.get("score_map") is None or cfg.score_map.name == "auto" else str(cfg.score_map.name)
    if not chosen and (wanted is None or cfg.threshold is None):
        raise UserError(
            f"checkpoint={cfg.checkpoint} was not evaluated, so that it knows no score map and threshold; "
            "give both, e.g. score_map=attention threshold=0.2"
        )
    name = resolve(wanted or str(chosen["score_map"]), network.branches)[0]
    threshold = float(chosen["threshold"] if cfg.threshold is None else cfg.threshold)
    if not 0 <= threshold < 1:
        raise UserError(f"threshold={threshold:g}: choose a share of the map's maximum, at least 0 and below 1")
    if wanted is not None and cfg.threshold is None and chosen["score_map"] != name:
        log.warning("threshold %.3f was chosen for score map %s, not for %s", threshold, chosen["score_map"], name)
    top_k = min(int(cfg.top_k), len(description.class_names))

    device = device_of(str(cfg.accelerator))

    folder = Path(cfg.output_dir)
    (folder / "overlays").mkdir(parents=True, exist_ok=True)
    network.to(device)
    predictions: list[Prediction] = []
    batches = [photos[i : i + cfg.batch_size] for i in range(0, len(photos), cfg.batch_size)]
    localizer = _Localizer(
        network, description, name, threshold, top_k, folder, bool(cfg.save_maps), file_names(photos)
    )
    for batch in track(batches, description="predicting", transient=True):
        predictions += localizer(batch)
    if not predictions:
        raise UserError(f"images={cfg.images}: none of the {len(photos)} photos could be read")
    write_json(folder / "predictions.json", [_row(p) for p in predictions])
    images = {image: k + 1 for k, image in enumerate(dict.fromkeys(p.image for p in predictions))}
    write_json(folder / "coco_images.json", [{"id": k, "file_name": image} for image, k in images.items()])
    write_json(folder / "coco_results.json", [_coco(p, images[p.image]) for p in predictions])
    log.info("%d of %d photos, %d boxes -> %s", len(images), len(photos), len(predictions), folder)
    return predictions


@dataclass(frozen=True)
class _Localizer:
    """A loaded network with what it localizes with, and where results go."""

    network: SPGNetwork
    description: CheckpointMetadata
    score_map: str
    threshold: float
    top_k: int
    folder: Path
    save_maps: bool
    names: dict[Path, str]

    def __call__(self, paths: list[Path]) -> list[Prediction]:
        """Localize in a batch of photos; broken ones are named and left out."""
        read: list[tuple[Path, np.ndarray]] = []
        for path in paths:
            try:
                read.append((path, read_image(path, apply_exif_orientation=True)))
            except UserError as error:
                log.warning("%s; left out", error)
        if not read:
            return []
        transform = test_transform(self.description.crop)
        small = [transform(image=photo, bboxes=np.zeros((0, 4)), box_rows=[])["image"] for _, photo in read]
        device = next(self.network.parameters()).device
        images = torch.from_numpy(np.stack(small).transpose(0, 3, 1, 2).copy()).to(device)
        with score_map_context(self.network, self.network.stem.normalize(images), [self.score_map]) as seen:
            probabilities, classes = seen.output.logits.softmax(1).topk(self.top_k, dim=1)
            # a map that does not depend on the class is computed once
            wanted = self.top_k if SCORE_MAPS[self.score_map].per_class else 1
            maps = [seen.map(self.score_map, classes[:, k])[:, 0].cpu().numpy() for k in range(wanted)]
        return [
            prediction
            for i, (path, photo) in enumerate(read)
            for prediction in self._write(path, photo, probabilities[i], classes[i], [values[i] for values in maps])
        ]

    def _write(
        self, path: Path, photo: np.ndarray, probabilities: torch.Tensor, classes: torch.Tensor, maps: list[np.ndarray]
    ) -> list[Prediction]:
        """Write one photo's overlay and maps; return its predictions, the most probable class first."""
        size, frame = (photo.shape[1], photo.shape[0]), (self.description.crop, self.description.crop)
        name = self.names[path]
        boxes, files = [], []
        for k, values in enumerate(maps):
            found = scan_thresholds(values, NO_BOXES)
            boxes.append(box_in_photo(found.box_at(self.threshold)[0], frame, size))
            files.append(self._save_map(f"{name}_{k + 1}" if len(maps) > 1 else name, values))
        names = [self.description.class_names[int(index)] for index in classes]
        texts = [
            (
                boxes[k],
                overlay.FOUND if k == 0 else OTHER_BOX,
                f"{short_name(names[k])} {100 * float(probabilities[k]):.0f}%",
            )
            for k in range(len(maps))
        ]
        shown = self.folder / "overlays" / f"{name}.png"
        hot = overlay.heat(photo, overlay.resize_map(maps[0], *size))
        Image.fromarray(overlay.boxes(hot, texts[::-1])).save(shown)
        return [
            Prediction(
                image=str(path),
                rank=k + 1,
                class_name=names[k],
                class_index=int(classes[k]),
                score=float(probabilities[k]),
                box=boxes[min(k, len(boxes) - 1)],
                overlay=str(shown.relative_to(self.folder)),
                map_file=files[min(k, len(files) - 1)],
            )
            for k in range(self.top_k)
        ]

    def _save_map(self, name: str, values: np.ndarray) -> str:
        if not self.save_maps:
            return ""
        (self.folder / "maps").mkdir(exist_ok=True)
        np.save(self.folder / "maps" / f"{name}.npy", values)
        return f"maps/{name}.npy"


def find_photos(images: str) -> list[Path]:
    """Return the photos that a file, a folder (searched through) or a glob names, sorted.

    Raises:
        UserError: there is none.
    """
    path = Path(images).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in IMAGE_EXTENSIONS]
        if not found:
            raise UserError(
                f"images={images}: no photo in this folder (looked for {', '.join(sorted(IMAGE_EXTENSIONS))})"
            )
    else:
        matches = [Path(file) for file in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (Path.glob wants relative)
        found = [file for file in matches if file.suffix.lower() in IMAGE_EXTENSIONS]
        if not found:
            raise UserError(f"images={images}: no such file or folder, and no photo matches it as a glob")
    return sorted(found)


def file_names(photos: list[Path]) -> dict[Path, str]:
    """Return a flat name for what is written of each photo: its last folders and its name; no two share one."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in photos:
        flat = "_".join(part for part in path.with_suffix("").parts[-3:] if part not in ("/", "..", "."))
        free = (flat, f"{flat}_{path.suffix[1:]}", *(f"{flat}_{k}" for k in range(2, len(photos) + 2)))
        names[path] = next(name for name in free if name.lower() not in taken)  # some disks do not tell cases apart
        taken.add(names[path].lower())
    return names


def _row(p: Prediction) -> dict[str, object]:
    row = asdict(p)
    row["class"] = row.pop("class_name")
    row["box"] = dict(zip(("x0", "y0", "x1", "y1"), (round(c, 2) for c in p.box), strict=True))
    return row


def _coco(p: Prediction, image_id: int) -> dict[str, object]:
    x0, y0, x1, y1 = p.box
    box = [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)]
    return {"image_id": image_id, "category_id": p.class_index + 1, "bbox": box, "score": p.score}


def main() -> None:
    """Run the command."""
    run_command("predict")


if __name__ == "__main__":
    main()
