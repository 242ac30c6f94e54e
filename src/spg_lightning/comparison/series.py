"""Average curves over the seeds of a variant: accuracy over threshold, losses and errors over training."""

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from spg_lightning.comparison.runs import Run
from spg_lightning.comparison.variants import Variant
from spg_lightning.errors import UserError

Series = Float[np.ndarray, "2 n"]  # x, y


def accuracy_curve(variant: Variant, score_map: str) -> Series | None:
    """Return the percentage of test images localized (largest contour, IoU 0.5) over the threshold."""
    return _mean([curve for run in variant.runs if (curve := _accuracy(run, score_map)) is not None])


def training_curves(variant: Variant) -> dict[str, Series]:
    """Return each logged loss and validation error over the step, without those of single score maps."""
    by_name: dict[str, list[Series]] = defaultdict(list)
    for run in variant.runs:
        for name, points in _read(run.files.log, _logged).items():
            by_name[name].append(points)
    return {name: mean for name, curves in by_name.items() if (mean := _mean(curves)) is not None}


def _mean(curves: Sequence[Series]) -> Series | None:
    """Average at the first curve's points, up to the end of the shortest."""
    if not curves:
        return None
    x = curves[0][0]
    x = x[x <= min(curve[0].max() for curve in curves)]
    return np.stack([x, np.mean([np.interp(x, *curve) for curve in curves], axis=0)])


def _accuracy(run: Run, score_map: str) -> Series | None:
    name = run.score_map if score_map == "auto" else score_map

    def parse(rows: list[dict[str, str]]) -> dict[str, Series]:
        rows = [row for row in rows if row["split"] == "test" and row["score_map"] == name and int(row["num_images"])]
        points = [(float(row["threshold"]), 100 * int(row["gt_known"]) / int(row["num_images"])) for row in rows]
        return {"accuracy": np.array(points).T} if points else {}

    return _read(run.files.curves, parse).get("accuracy")


def _logged(rows: list[dict[str, str]]) -> dict[str, Series]:
    names = [
        name for name in (rows[0] if rows else ()) if name.startswith(("train/loss_", "val/")) and name.count("/") == 1
    ]
    names = [name for name in names if name != "val/objective"]  # repeats another column
    points = {name: [(float(row["step"]), float(row[name])) for row in rows if row[name]] for name in names}
    return {name: np.array(values).T for name, values in points.items() if values}


def _read(path: Path, parse: Callable[[list[dict[str, str]]], dict[str, Series]]) -> dict[str, Series]:
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return parse(list(csv.DictReader(file)))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table of this package; remove or repeat the run") from error
