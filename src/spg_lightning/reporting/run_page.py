"""Write the results of an evaluation: metrics, tables, curves, and one self-contained HTML page."""

import base64
import csv
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from math import isnan
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Float
from PIL import Image

from spg_lightning.data.records import Records
from spg_lightning.evaluation.results import Evaluation, ImageResult
from spg_lightning.localization.collapse import box_fraction, full_boxes, one_class
from spg_lightning.localization.metrics import CURVES
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.reporting.plots import as_svg, plot_evaluation, plot_panels, save_png
from spg_lightning.reporting.samples import evenly_spaced_indices
from spg_lightning.reporting.tables import print_evaluation, result_table, write_score_map_table
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.provenance import write_json

log = logging.getLogger(__name__)

SIDE = 360  # pixels of the longer side of an image on the page
IMAGE_COLUMNS = (
    "image", "split", "score_map", "class", "predicted", "score", "x0", "y0", "x1", "y1", "true_boxes", "iou", "localized",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """An image for the page: its score map in [0, 1], and its pixels at any size, if they are at hand."""

    score_map: Float[np.ndarray, "Y X"]
    photo: overlay.Photo | None


def write_evaluation(
    path: Path,
    evaluation: Evaluation,
    provenance: dict[str, Any],
    title: str,
    records: Records,
    picture: Callable[[int], Picture],
    count: int,
) -> None:
    """Write the results, print the table, and warn of a collapse.

    Beside metrics.json lie score_maps.csv (every number of every map), curves.csv (images localized at every threshold),
    images.csv (a row per image, see `Evaluation.images` and `more_images`), curves.png (with boxes or masks), report.html and
    provenance.json. Beside maps.json they begin with "maps_".

    Args:
        path: of the metrics' JSON file.
        evaluation: to write.
        provenance: see `utils.provenance`.
        title: of table and page.
        records: of the test split.
        picture: returns the picture of a test image, given its index in the records.
        count: number of the worst and of the best images on the page.
    """
    groups = _select_images(evaluation, count)
    shown = {
        name: [_render(result, records, picture(result.index)) for result in group] for name, group in groups.items()
    }
    page = _render_page(path, evaluation, provenance, title, shown)
    # all errors are raised above: nothing is half written
    path.parent.mkdir(parents=True, exist_ok=True)
    # an earlier evaluation's: they would mark this one as finished, or stay beside it where it has none
    for name in ("provenance.json", "images.csv", "curves.png"):
        _sibling(path, name).unlink(missing_ok=True)
    if evaluation.images:
        _write_images(_sibling(path, "images.csv"), [*evaluation.images, *evaluation.more_images])
    _write_curves(_sibling(path, "curves.csv"), evaluation)
    write_score_map_table(_sibling(path, "score_maps.csv"), evaluation)
    if (figure := plot_evaluation(evaluation)) is not None:
        save_png(figure, _sibling(path, "curves.png"))
    with atomically(_sibling(path, "report.html"), "w", encoding="utf-8") as file:
        file.write(page)
    write_json(path, evaluation.metrics)
    write_json(_sibling(path, "provenance.json"), provenance)  # last: it marks a finished run
    print_evaluation(evaluation, title)
    boxes = full_boxes([box_fraction(result.box, records.sizes[result.index]) for result in evaluation.images])
    named = [result for result in evaluation.images if result.predicted]
    for text in [*boxes, *one_class([r.predicted for r in named], [r.label for r in named])]:
        log.warning("%s", text)


def _sibling(path: Path, name: str) -> Path:
    return path.with_name(name if path.stem == "metrics" else f"{path.stem}_{name}")


def _select_images(evaluation: Evaluation, count: int) -> dict[str, list[ImageResult]]:
    """Return the worst and the best images by IoU, none of them twice. Without boxes, return evenly spaced ones."""
    by_iou = sorted((r for r in evaluation.images if not isnan(r.iou)), key=lambda result: result.iou)
    if by_iou:
        worst = by_iou[: min(count, len(by_iou) // 2)]
        return {"Worst": worst, "Best": by_iou[len(worst) :][::-1][:count]}
    return {"": [evaluation.images[index] for index in evenly_spaced_indices(len(evaluation.images), count)]}


def _render(result: ImageResult, records: Records, picture: Picture) -> dict[str, Any]:
    """Draw map and boxes over an image, as a data URL with its size and class names."""
    own = records.sizes[result.index]
    size = [max(1, round(side)) for side in own * SIDE / own.max()]
    score_map = overlay.resize_map(picture.score_map, *size)
    photo = np.full((size[1], size[0], 3), 40, np.uint8)
    if picture.photo is not None:
        photo = overlay.resize(picture.photo, *size)
    scale = np.tile(size / own, 2)
    boxes = [((box * scale).tolist(), overlay.TRUTH, "") for box in records.boxes_of(result.index)]
    boxes.append(((np.array(result.box) * scale).tolist(), overlay.PREDICTED, ""))
    buffer = BytesIO()
    Image.fromarray(overlay.boxes(overlay.heat(photo, score_map), boxes)).save(buffer, "JPEG", quality=88)
    return {
        "result": result,
        "label": short_name(result.label),
        "predicted": short_name(result.predicted),
        "iou": "" if isnan(result.iou) else f"IoU {result.iou:.2f}",
        "url": f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "width": size[0],
        "height": size[1],
    }


def _render_page(
    path: Path,
    evaluation: Evaluation,
    provenance: dict[str, Any],
    title: str,
    groups: dict[str, list[dict[str, Any]]],
) -> str:
    template = jinja2.Environment(autoescape=True).from_string(
        (files("spg_lightning.reporting") / "run_page.html").read_text(encoding="utf-8")
    )
    has_boxes = evaluation.curves["test"][evaluation.score_map].num_boxed > 0
    colours = overlay.BOXES if has_boxes else {"predicted box": overlay.PREDICTED}
    figures = [as_svg(figure) for figure in plot_panels(evaluation)]
    num_images, num_scored = len(evaluation.images), sum(not isnan(result.iou) for result in evaluation.images)
    names = [*(["images.csv"] if evaluation.images else []), "curves.csv", "score_maps.csv"]
    names += ["curves.png"] if figures else []
    return template.render(
        title=title,
        evaluation=evaluation,
        table=result_table(evaluation),
        figures=figures,
        groups=groups,
        sorted_images=f"{num_scored} images with boxes" if 0 < num_scored < num_images else f"{num_images} images",
        colours=colours,
        provenance=provenance,
        files=[_sibling(path, name).name for name in names],
        metrics=path.name,
    )


def _write_curves(path: Path, evaluation: Evaluation) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "score_map", "threshold", "num_images", *CURVES])
        for split, by_map in evaluation.curves.items():
            for name, counts in by_map.items():
                for threshold, hits in zip(counts.thresholds, counts.hits.T, strict=True):
                    writer.writerow([split, name, f"{threshold:.6g}", counts.num_boxed, *hits])


def _write_images(path: Path, images: Sequence[ImageResult]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(IMAGE_COLUMNS)
        for result in images:
            box = [f"{corner:.1f}" for corner in result.box]
            truth = json.dumps([[round(corner, 1) for corner in true_box] for true_box in result.true_boxes])
            score = "" if isnan(result.score) else f"{result.score:.6f}"
            overlap = ["", ""] if isnan(result.iou) else [f"{result.iou:.6f}", int(result.iou >= 0.5)]
            names = [result.image, result.split, result.score_map, result.label, result.predicted]
            writer.writerow([*names, score, *box, truth, *overlap])
