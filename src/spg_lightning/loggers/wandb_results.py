"""Log an evaluation to a Weights & Biases run: curves, images, tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spg_lightning.evaluation.results import Evaluation
from spg_lightning.localization.metrics import CURVES
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.reporting.samples import SampleView
from spg_lightning.spg.guidance import BACKGROUND, FOREGROUND, IGNORED

CURVE_POINTS = 100
# masks and boxes share one numbering, as an image in a table has only one; classes follow
MASK_IDS = {"foreground": 1, "background": 2, "ignored": 3}
FIRST_CLASS = 4
COLUMNS = (
    "photo", "score map", "image", "class", "predicted", "IoU", "localized", "x0", "y0", "x1", "y1",
)  # fmt: skip


def log_evaluation(run: Any, evaluation: Evaluation, views: list[SampleView], class_names: Sequence[str]) -> None:
    """Log the results that need no server.

    Keys: `test/gallery` (images with boxes and masks), and `curve/<map>/<name>` over `curve/threshold` (the test curves as a
    history, so that those of several runs share a panel).

    Args:
        run: of wandb.
        evaluation: with the curves.
        views: the images; without any there is no gallery.
        class_names: in the order of the labels.
    """
    run.define_metric("curve/threshold", hidden=True, summary="none")
    history: dict[float, dict[str, float]] = {}
    for name, threshold, *accuracy in curve_rows(evaluation, "test"):
        values = {f"curve/{name}/{curve}": value for curve, value in zip(CURVES, accuracy, strict=True)}
        history[threshold] = history.get(threshold, {}) | values
    for key in next(iter(history.values())):
        run.define_metric(key, step_metric="curve/threshold", summary="none")
    if views:
        run.log({"test/gallery": [_image(view, class_names) for view in views]})
    for threshold, values in history.items():
        run.log({"curve/threshold": threshold, **values})


def log_tables(run: Any, evaluation: Evaluation, views: list[SampleView], class_names: Sequence[str]) -> None:
    """Log the tables, for which wandb asks the server. The arguments are those of `log_evaluation`.

    Keys: `val/curves`, `test/curves` (a chart of the run's maps; its table ends in `_table`), `test/images` (the gallery with
    class, box and IoU).
    """
    import wandb

    charts: dict[str, Any] = {}
    for split in evaluation.curves:
        title = f"Localized on {split} over threshold, %"
        table = wandb.Table(columns=["score_map", "threshold", *CURVES], data=curve_rows(evaluation, split))
        charts[f"{split}/curves"] = wandb.plot.line(table, "threshold", "gt_known", stroke="score_map", title=title)
    if views:
        charts["test/photos"] = wandb.Table(columns=list(COLUMNS), data=[_row(view, class_names) for view in views])
    run.log(charts)


def curve_rows(evaluation: Evaluation, split: str) -> list[list[Any]]:
    """Return rows of score map, threshold, and the accuracy of each curve in percent, about `CURVE_POINTS` per map."""
    rows: list[list[Any]] = []
    for name, counts in evaluation.curves[split].items():
        accuracies = [counts.accuracy(curve) for curve in CURVES]
        for k in range(0, len(counts.thresholds), max(len(counts.thresholds) // CURVE_POINTS, 1)):
            rows.append([name, float(counts.thresholds[k]), *(float(accuracy[k]) for accuracy in accuracies)])
    return rows


def _row(view: SampleView, class_names: Sequence[str]) -> list[Any]:
    import wandb

    height, width = view.photo.shape[:2]
    hot = overlay.heat(view.photo, overlay.resize_map(view.score_map, width, height))
    heat = wandb.Image(hot, caption=view.name)
    names = [view.image, short_name(view.label), short_name(view.predicted)]
    return [_image(view, class_names), heat, *names, view.iou, view.iou >= 0.5, *view.box]


def _image(view: SampleView, class_names: Sequence[str]) -> Any:
    import wandb

    names = {value: name for name, value in MASK_IDS.items()}
    names |= {FIRST_CLASS + k: short_name(name) for k, name in enumerate(class_names)}

    def layer(boxes: Sequence[Sequence[float]], class_name: str, caption: str, **more: Any) -> dict[str, Any]:
        number = FIRST_CLASS + class_names.index(class_name)
        corners = [dict(zip(("minX", "minY", "maxX", "maxY"), map(float, box), strict=True)) for box in boxes]
        common = {"domain": "pixel", "class_id": number, "box_caption": caption, **more}
        return {"box_data": [{"position": box, **common} for box in corners], "class_labels": names}

    height, width = view.photo.shape[:2]
    caption = f"{short_name(view.predicted)}, IoU {view.iou:.2f}"
    return wandb.Image(
        view.photo,
        caption=f"{view.image}: {caption}",
        boxes={
            "ground_truth": layer(view.truth, view.label, short_name(view.label)),
            "predicted": layer([view.box], view.predicted, caption, scores={"iou": view.iou}),
        },
        masks={
            f"supervises_{name}": {
                "mask_data": _mask_ids(overlay.resize_labels(ternary, width, height)),
                "class_labels": names,
            }
            for name, ternary in view.masks.items()
        },
        classes=[{"id": number, "name": name} for number, name in names.items()],
    )


def _mask_ids(ternary: np.ndarray) -> np.ndarray:
    """Return a ternary mask in the numbering of `MASK_IDS`. W&B draws neither 0 nor negative numbers."""
    values = {"foreground": FOREGROUND, "background": BACKGROUND, "ignored": IGNORED}
    return np.select([ternary == values[name] for name in MASK_IDS], list(MASK_IDS.values())).astype(np.uint8)
