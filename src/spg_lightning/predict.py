"""The verb `predict`: boxes on photos."""

import glob
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from rich.progress import track

from spg_lightning.build import load_network
from spg_lightning.cli import run
from spg_lightning.data.photos import read_photo
from spg_lightning.data.transforms import test_transform
from spg_lightning.errors import UserError
from spg_lightning.localization.scan import box_in_photo, scan
from spg_lightning.provenance import write_json
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.spg.score_maps import SCORE_MAPS, choose

log = logging.getLogger(__name__)
PHOTO_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
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
    network, description = load_network(cfg.checkpoint)
    photos = find_photos(str(cfg.images))
    chosen = description.localization
    if not chosen and (cfg.score_map is None or cfg.threshold is None):
        raise UserError(
            f"checkpoint={cfg.checkpoint} was not evaluated, so that it knows no score map and threshold; "
            "give both, e.g. score_map=attention threshold=0.2"
        )
    name = choose(str(cfg.score_map or chosen["score_map"]), network.branches)[0]
    threshold = float(chosen["threshold"] if cfg.threshold is None else cfg.threshold)
    if not 0 <= threshold < 1:
        raise UserError(f"threshold={threshold:g}: choose a share of the map's maximum, at least 0 and below 1")
    if cfg.score_map is not None and cfg.threshold is None and chosen["score_map"] != name:
        log.warning("threshold %.3f was chosen for score map %s, not for %s", threshold, chosen["score_map"], name)
    top_k = min(int(cfg.top_k), len(description.class_names))
    if top_k < 1:
        raise UserError(f"top_k={cfg.top_k}: at least 1")

    folder = Path(cfg.output_dir)
    (folder / "overlays").mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if cfg.accelerator in ("auto", "gpu") and torch.cuda.is_available() else "cpu")
    network.to(device)
    predictions: list[Prediction] = []
    batches = [photos[i : i + cfg.batch_size] for i in range(0, len(photos), cfg.batch_size)]
    for batch in track(batches, description="predicting", transient=True):
        predictions += _predict_batch(batch, network, description, name, threshold, top_k, folder, cfg.save_maps, device)
    if not predictions:
        raise UserError(f"images={cfg.images}: none of the {len(photos)} photos could be read")
    write_json(folder / "predictions.json", [_row(p) for p in predictions])
    images = {image: k + 1 for k, image in enumerate(dict.fromkeys(p.image for p in predictions))}
    write_json(folder / "coco_images.json", [{"id": k, "file_name": image} for image, k in images.items()])
    write_json(folder / "coco_results.json", [_coco(p, images[p.image]) for p in predictions])
    log.info("%d of %d photos, %d boxes -> %s", len(images), len(photos), len(predictions), folder)
    return predictions


@torch.no_grad()
def _predict_batch(paths, network, description, name, threshold, top_k, folder, save_maps, device):  # type: ignore[no-untyped-def]
    transform = test_transform(description.crop)
    frame = (description.crop, description.crop)
    read: list[tuple[Path, np.ndarray]] = []
    for path in paths:
        try:
            read.append((path, read_photo(path, upright=True)))
        except UserError as error:
            log.warning("%s; left out", error)
    if not read:
        return []
    small = [transform(image=photo, bboxes=np.zeros((0, 4)), box_rows=[])["image"] for _, photo in read]
    images = torch.from_numpy(np.stack(small).transpose(0, 3, 1, 2).copy()).to(device)
    score_map = SCORE_MAPS[name]
    output = network(network.stem.normalize(images), score_map.branches)
    probabilities, classes = output.logits.softmax(1).topk(top_k, dim=1)
    # maps that do not depend on the class are computed once
    ranks = range(top_k if score_map.per_class else 1)
    maps = [score_map.compute(output, classes[:, k])[:, 0].cpu().numpy() for k in ranks]
    out: list[Prediction] = []
    for i, (path, photo) in enumerate(read):
        size = (photo.shape[1], photo.shape[0])
        stem_name = _file_name(path)
        rows = []
        for k in range(top_k):
            values = maps[k if score_map.per_class else 0][i]
            found = scan(values, NO_BOXES)
            box = box_in_photo(found.largest_box[int(found.levels(np.array([threshold]))[0])], frame, size)
            index = int(classes[i, k])
            rows.append((k + 1, index, float(probabilities[i, k]), box, values))
        drawn = overlay.heat(photo, overlay.resize_map(rows[0][4], *size))
        texts = [
            (box, overlay.FOUND if rank == 1 else (200, 200, 200), f"{short_name(description.class_names[index])} {100 * p:.0f}%")
            for rank, index, p, box, _ in rows
        ]
        shown = folder / "overlays" / f"{stem_name}.png"
        Image.fromarray(overlay.boxes(drawn, texts[::-1] if score_map.per_class else texts[:1])).save(shown)
        for rank, index, probability, box, values in rows:
            map_file = ""
            if save_maps:
                (folder / "maps").mkdir(exist_ok=True)
                map_file = f"maps/{stem_name}{f'_{rank}' if score_map.per_class and top_k > 1 else ''}.npy"
                np.save(folder / map_file, values)
            out.append(
                Prediction(str(path), rank, description.class_names[index], index, probability, box,
                           str(shown.relative_to(folder)), map_file)
            )  # fmt: skip
    return out


def find_photos(images: str) -> list[Path]:
    """Return the photos that a file, a folder (searched through) or a glob names, sorted.

    Raises:
        UserError: there is none.
    """
    path = Path(images).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in PHOTO_ENDINGS]
        if not found:
            raise UserError(f"images={images}: no photo in this folder (looked for {', '.join(sorted(PHOTO_ENDINGS))})")
    else:
        found = [Path(file) for file in glob.glob(str(path), recursive=True) if Path(file).suffix.lower() in PHOTO_ENDINGS]
        if not found:
            raise UserError(f"images={images}: no such file or folder, and no photo matches it as a glob")
    return sorted(found)


def _file_name(path: Path) -> str:
    """Return a flat name that keeps photos of the same name in different folders apart."""
    parts = path.with_suffix("").parts
    return "_".join(part for part in parts[-3:] if part not in ("/", "..", "."))


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
    """Run `predict` from the command line."""
    run("predict", predict)


if __name__ == "__main__":
    main()
