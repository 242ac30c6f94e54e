"""The results of a run as Weights & Biases shows them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spg_lightning.evaluation.results import Evaluation
from spg_lightning.localization.metrics import CURVES
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.reporting.samples import SampleView
from spg_lightning.spg.guidance import BACKGROUND, FOREGROUND, IGNORED

POINTS = 100  # of a curve: finer than a screen shows, and few enough for a table
# one numbering for masks and boxes, as an image in a table has only one; a class comes after these
MASK_IDS = {"foreground": 1, "background": 2, "ignored": 3}
FIRST_CLASS = 4
COLUMNS = (
    "photo", "score map", "image", "class", "predicted", "IoU", "localized", "x0", "y0", "x1", "y1",
)  # fmt: skip


def log_evaluation(run: Any, evaluation: Evaluation, shown: list[SampleView], class_names: Sequence[str]) -> None:
    """Log what a run keeps on disk by itself, whatever becomes of the network.

    Keys: `test/gallery` (photos with boxes and masks), `curve/<map>/<name>` over `curve/threshold` (test's curves as a
    history of their own, so that those of several runs lie in one panel).

    Args:
        run: of wandb.
        evaluation: whose curves are shown.
        shown: the photos; none: no gallery.
        class_names: in the order of the labels.
    """
    run.define_metric("curve/threshold", hidden=True, summary="none")
    at: dict[float, dict[str, float]] = {}
    for name, threshold, *accuracy in curve_rows(evaluation, "test"):
        named = {f"curve/{name}/{curve}": value for curve, value in zip(CURVES, accuracy, strict=True)}
        at[threshold] = at.get(threshold, {}) | named
    for key in next(iter(at.values())):
        run.define_metric(key, step_metric="curve/threshold", summary="none")
    if shown:
        run.log({"test/gallery": [_image(view, class_names) for view in shown]})
    for threshold, values in at.items():
        run.log({"curve/threshold": threshold, **values})


def log_tables(run: Any, evaluation: Evaluation, shown: list[SampleView], class_names: Sequence[str]) -> None:
    """Log the tables, about which wandb asks the server before it keeps them; arguments as for `show`.

    Keys: `val/curves`, `test/curves` (chart of this run's maps; its table ends in `_table`), `test/photos` (the gallery as
    a table, with class, box and IoU).
    """
    import wandb

    logged: dict[str, Any] = {}
    for split in evaluation.curves:
        title = f"Localized on {split} over threshold, %"
        table = wandb.Table(columns=["score_map", "threshold", *CURVES], data=curve_rows(evaluation, split))
        logged[f"{split}/curves"] = wandb.plot.line(table, "threshold", "gt_known", stroke="score_map", title=title)
    if shown:
        logged["test/photos"] = wandb.Table(columns=list(COLUMNS), data=[_row(view, class_names) for view in shown])
    run.log(logged)


def curve_rows(evaluation: Evaluation, split: str) -> list[list[Any]]:
    """Return rows score map, threshold, and each curve's accuracy in percent."""
    rows: list[list[Any]] = []
    for name, curves in evaluation.curves[split].items():
        accuracy = [curves.accuracy(curve) for curve in CURVES]
        for k in range(0, len(curves.thresholds), max(len(curves.thresholds) // POINTS, 1)):
            rows.append([name, float(curves.thresholds[k]), *(float(of[k]) for of in accuracy)])
    return rows


def _row(view: SampleView, class_names: Sequence[str]) -> list[Any]:
    import wandb

    heat = wandb.Image(overlay.heat(view.photo, view.score_map), caption=view.name)
    named = [view.image, short_name(view.label), short_name(view.predicted)]
    return [_image(view, class_names), heat, *named, view.iou, view.iou >= 0.5, *view.box]


def _image(view: SampleView, class_names: Sequence[str]) -> Any:
    import wandb

    names = {value: name for name, value in MASK_IDS.items()}
    names |= {FIRST_CLASS + k: short_name(name) for k, name in enumerate(class_names)}

    def layer(corners: Sequence[Sequence[float]], name: str, caption: str, **more: Any) -> dict[str, Any]:
        boxes = [
            {
                "position": dict(zip(("minX", "minY", "maxX", "maxY"), map(float, box), strict=True)),
                "domain": "pixel", "class_id": FIRST_CLASS + class_names.index(name), "box_caption": caption, **more,
            }
            for box in corners
        ]  # fmt: skip
        return {"box_data": boxes, "class_labels": names}

    predicted = f"{short_name(view.predicted)}, IoU {view.iou:.2f}"
    return wandb.Image(
        view.photo,
        caption=f"{view.image}: {predicted}",
        boxes={
            "ground_truth": layer(view.truth, view.label, short_name(view.label)),
            "predicted": layer([view.box], view.predicted, predicted, scores={"iou": view.iou}),
        },
        masks={
            f"teaches_{name}": {"mask_data": _ids(ternary), "class_labels": names}
            for name, ternary in view.masks.items()
        },
        classes=[{"id": number, "name": name} for number, name in names.items()],
    )


def _ids(ternary: np.ndarray) -> np.ndarray:
    """Return a ternary mask in this file's numbering: W&B wants no negative numbers and calls 0 nothing."""
    values = {"foreground": FOREGROUND, "background": BACKGROUND, "ignored": IGNORED}
    return np.select([ternary == values[name] for name in MASK_IDS], list(MASK_IDS.values())).astype(np.uint8)
