"""Everything an evaluation leaves behind: metrics, tables, curves, and a page that opens in a browser as one file."""

import base64
import csv
from collections.abc import Callable
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
from spg_lightning.localization.metrics import CURVES
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.reporting.plots import as_svg, plot_evaluation, save_png
from spg_lightning.reporting.samples import evenly_spaced_indices
from spg_lightning.reporting.tables import figures_of, print_evaluation, write_score_map_table
from spg_lightning.utils.provenance import write_json

HEIGHT = 200  # of a picture on the page, in pixels


@dataclass(frozen=True)
class Picture:
    """What the page shows of an image: its score map in [0, 1], and its photo of any size, where there is one."""

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
    """Write metrics to `path` and the rest beside it, and print the table.

    For metrics.json these are provenance.json, score_maps.csv (every number of every map), curves.csv (images right at
    every threshold), images.csv (a row a test image), curves.png and report.html; other names stand before theirs.

    Args:
        path: of the metrics' .json file.
        evaluation: what to write.
        provenance: see `provenance.provenance`.
        title: of table and page.
        records: of the test part.
        picture: index of a test image -> what to show of it.
        count: how many of the worst and of the best images the page shows.
    """
    figure = plot_evaluation(evaluation)
    by_iou = sorted((r for r in evaluation.images if not isnan(r.iou)), key=lambda result: result.iou)
    groups = {"Worst": by_iou[:count], "Best": by_iou[::-1][:count]} if count else {}
    if count and not by_iou:  # no boxes to compare with
        groups = {"Some": [evaluation.images[i] for i in evenly_spaced_indices(len(evaluation.images), count)]}
    template = jinja2.Environment(autoescape=True).from_string(
        (files("spg_lightning.reporting") / "run_page.html").read_text(encoding="utf-8")
    )
    tables = [*(["images.csv"] if evaluation.images else []), "curves.csv", "score_maps.csv", "curves.png"]
    page = template.render(
        title=title,
        evaluation=evaluation,
        figures=figures_of(evaluation),
        figure=as_svg(figure),
        groups={name: [_shown(r, records, picture) for r in results] for name, results in groups.items()},
        provenance=provenance,
        files=[sibling_path(path, name).name for name in tables],
        metrics=path.name,
    )
    # whatever can go wrong has gone wrong by now: nothing is written by halves
    path.parent.mkdir(parents=True, exist_ok=True)
    if evaluation.images:
        _write_images(sibling_path(path, "images.csv"), evaluation.images)
    _write_curves(sibling_path(path, "curves.csv"), evaluation)
    write_score_map_table(sibling_path(path, "score_maps.csv"), evaluation)
    save_png(figure, sibling_path(path, "curves.png"))
    sibling_path(path, "report.html").write_text(page, encoding="utf-8")
    write_json(path, evaluation.metrics)
    write_json(sibling_path(path, "provenance.json"), provenance)  # the last: where it is, the run is finished
    print_evaluation(evaluation, title)


def sibling_path(path: Path, name: str) -> Path:
    """Return where a file of an evaluation goes: beside metrics.json as it is, beside others after their name."""
    return path.with_name(name if path.stem == "metrics" else f"{path.stem}_{name}")


def _write_curves(path: Path, evaluation: Evaluation) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "score_map", "threshold", "num_images", *CURVES])
        for split, by_map in evaluation.curves.items():
            for name, curves in by_map.items():
                for threshold, hits in zip(curves.thresholds, curves.hits.T, strict=True):
                    writer.writerow([split, name, f"{threshold:.6g}", curves.num_boxed, *hits])


def _write_images(path: Path, images: tuple[ImageResult, ...]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "class", "predicted", "x0", "y0", "x1", "y1", "iou", "localized"])
        for result in images:
            box = [f"{corner:.1f}" for corner in result.box]
            compared = ["", ""] if isnan(result.iou) else [f"{result.iou:.6f}", int(result.iou >= 0.5)]
            writer.writerow([result.image, result.label, result.predicted, *box, *compared])


def _shown(result: ImageResult, records: Records, picture: Callable[[int], Picture]) -> dict[str, Any]:
    """Return what the page says of one image, with its picture as a data URL."""
    shown = picture(result.index)
    width, height = (int(side) for side in records.sizes[result.index])
    size = (min(max(round(HEIGHT * width / height), HEIGHT // 4), 2 * HEIGHT), HEIGHT)
    score_map = overlay.resize_map(shown.score_map, *size)
    photo = np.full((size[1], size[0], 3), 40, np.uint8) if shown.photo is None else overlay.resize(shown.photo, *size)
    scale = np.array([size[0] / width, size[1] / height] * 2)
    drawn = [((box * scale).tolist(), overlay.TRUTH, "") for box in records.boxes_of(result.index)]
    drawn.append(
        ((np.array(result.box) * scale).tolist(), overlay.FOUND, "" if isnan(result.iou) else f"IoU {result.iou:.2f}")
    )
    buffer = BytesIO()
    Image.fromarray(overlay.boxes(overlay.heat(photo, score_map), drawn)).save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode()
    return {
        "result": result,
        "label": short_name(result.label),
        "predicted": short_name(result.predicted),
        "url": f"data:image/jpeg;base64,{data}",
        "width": size[0],
        "height": size[1],
    }
