"""Plots of an evaluation: accuracy over threshold, overlaps, precision over recall."""

from io import StringIO
from math import isnan
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spg_lightning.evaluation.results import Evaluation
from spg_lightning.localization.metrics import IOUS, LocalizationCounts

# Okabe and Ito's colours, which colour-blind readers can tell apart
BLUE, ORANGE, GREEN, BLACK, GREY = "#0072B2", "#E69F00", "#009E73", "#222222", "#888888"
BY_IOU = dict(zip(IOUS, (GREEN, BLUE, ORANGE), strict=True))


def plot_evaluation(evaluation: Evaluation) -> Figure:
    """Return a figure of the chosen map's test part: accuracy over threshold, IoU of each image, precision over recall."""
    curves = evaluation.curves["test"][evaluation.score_map]
    panels = [_accuracy] if curves.num_boxed else []
    if any(not isnan(result.iou) for result in evaluation.images):
        panels.append(_overlaps)
    if curves.pixel_hist.any():
        panels.append(_precision_recall)
    if not panels:
        panels.append(_nothing)
    figure = Figure(figsize=(4.6 * len(panels), 4.2), layout="constrained")
    for axes, draw in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        draw(axes, evaluation, curves)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def as_svg(figure: Figure) -> str:
    """Return a figure as an <svg> element."""
    text = StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure for papers and slides."""
    figure.savefig(path, dpi=160)


def _accuracy(axes: Axes, evaluation: Evaluation, curves: LocalizationCounts) -> None:
    for iou in IOUS:
        axes.plot(
            curves.thresholds, curves.accuracy(f"iou{iou}"), color=BY_IOU[iou], label=f"IoU ≥ {iou} %, any contour"
        )
    axes.plot(
        curves.thresholds, curves.accuracy("gt_known"), color=BLACK, linestyle="--", label="IoU ≥ 50 %, largest contour"
    )
    chosen_on = "val" if "val" in evaluation.curves else "test (oracle)"
    axes.axvline(evaluation.threshold, color=GREY, linewidth=1, label=f"threshold chosen on {chosen_on}")
    key = next(
        (k for k in ("", "_oracle") if f"test/floor_center_gt_known_error{k}" in evaluation.naive_baselines), None
    )
    if key is not None:
        floor = 100 - evaluation.naive_baselines[f"test/floor_center_gt_known_error{key}"]
        axes.axhline(floor, color=GREY, linewidth=1, linestyle=":", label="blind centred box, IoU ≥ 50 %")
    axes.set(xlim=(0, 1), ylim=(0, 102), xlabel="threshold, share of the map's maximum", ylabel="images right, %")
    axes.set_title("Accuracy over threshold", fontsize=11, loc="left")
    _legend(axes)


def _overlaps(axes: Axes, evaluation: Evaluation, curves: LocalizationCounts) -> None:
    ious = [result.iou for result in evaluation.images if not isnan(result.iou)]
    axes.hist(ious, bins=np.linspace(0, 1, 21).tolist(), color=BLUE, edgecolor="white", linewidth=0.6)
    axes.axvline(0.5, color=BLACK, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), xlabel=f"IoU of the box at threshold {evaluation.threshold:.3f}", ylabel="images")
    axes.set_title(f"Overlap, median {np.median(ious):.2f}", fontsize=11, loc="left")


def _nothing(axes: Axes, evaluation: Evaluation, curves: LocalizationCounts) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title("Neither boxes nor masks to measure with", fontsize=11, loc="left")


def _precision_recall(axes: Axes, evaluation: Evaluation, curves: LocalizationCounts) -> None:
    background, found = (row[::-1].cumsum() for row in curves.pixel_hist)
    there = found + background > 0
    axes.plot(100 * found[there] / found[-1], 100 * found[there] / (found + background)[there], color=GREEN)
    share = 100 * found[-1] / (found[-1] + background[-1])
    axes.axhline(share, color=GREY, linewidth=1, linestyle=":", label=f"share of object pixels, {share:.0f} %")
    axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="recall of object pixels, %", ylabel="precision, %")
    pxap = evaluation.per_map[evaluation.score_map]["test/pxap"]
    axes.set_title(f"Pixels, PxAP {pxap:.1f} %", fontsize=11, loc="left")
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Put the legend below, where it hides no curve."""
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=2)
