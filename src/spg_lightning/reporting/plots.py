"""Plot an evaluation: accuracy over threshold, overlaps, precision over recall."""

from collections.abc import Callable
from io import StringIO
from math import isnan
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from spg_lightning.evaluation.results import Evaluation
from spg_lightning.localization.metrics import IOUS, LocalizationCounts

# Okabe and Ito's colours, which colour-blind readers can tell apart
BLUE, ORANGE, GREEN, VERMILION, BLACK, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#222222", "#888888"

WIDTH, HEIGHT = 4.6, 4.1  # inches of a panel; at least the width of a phone's screen
Panel = Callable[[Axes, Evaluation, LocalizationCounts], None]


def plot_evaluation(evaluation: Evaluation) -> Figure | None:
    """Plot the panels side by side; None where there are none, without boxes and masks."""
    panels = _panels(evaluation)
    if not panels:
        return None
    figure = Figure(figsize=(WIDTH * len(panels), HEIGHT))
    parts = figure.subfigures(1, len(panels), squeeze=False)[0]
    for part, panel in zip(parts, panels, strict=True):
        _draw(part, panel, evaluation)
    return figure


def plot_panels(evaluation: Evaluation) -> list[Figure]:
    """Plot each panel as a figure of its own, so that a narrow page can put them below each other."""
    figures = []
    for panel in _panels(evaluation):
        figures.append(Figure(figsize=(WIDTH, HEIGHT)))
        _draw(figures[-1], panel, evaluation)
    return figures


def _panels(evaluation: Evaluation) -> list[Panel]:
    """Return the plots of the chosen map's test split: accuracy over threshold, IoU of each image, precision over recall."""
    counts = evaluation.curves["test"][evaluation.score_map]
    panels: list[Panel] = [_plot_accuracy] if counts.num_boxed else []
    if any(not isnan(result.iou) for result in evaluation.images):
        panels.append(_plot_overlaps)
    if counts.pixel_hist.any():
        panels.append(_plot_precision)
    return panels


def _draw(figure: FigureBase, panel: Panel, evaluation: Evaluation) -> None:
    figure.subplots_adjust(left=0.13, right=0.97, bottom=0.3, top=0.92)  # the same axes in all; a legend fits below
    axes = figure.subplots()
    panel(axes, evaluation, evaluation.curves["test"][evaluation.score_map])
    tidy(axes)


def tidy(axes: Axes) -> None:
    """Remove two spines and draw a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def plain_text(text: str) -> str:
    """Escape dollar signs, which matplotlib would read as formulas."""
    return text.replace("$", r"\$")


def as_svg(figure: Figure) -> str:
    """Return a figure as an <svg> element."""
    text = StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure at a resolution for papers and slides."""
    figure.savefig(path, dpi=160)


def _plot_accuracy(axes: Axes, evaluation: Evaluation, counts: LocalizationCounts) -> None:
    thresholds = counts.thresholds
    for iou, colour in zip(IOUS, (GREEN, BLUE, ORANGE), strict=True):
        axes.plot(thresholds, counts.accuracy(f"iou{iou}"), color=colour, label=f"IoU ≥ {iou} %, any contour")
    axes.plot(thresholds, counts.accuracy("gt_known"), color=BLACK, linestyle="--", label="IoU ≥ 50 %, largest contour")
    chosen_on = "val" if "val" in evaluation.curves else "test (oracle)"
    axes.axvline(evaluation.threshold, color=GREY, linewidth=1, label=f"threshold chosen on {chosen_on}")
    keys = [f"test/floor_center_gt_known_error{suffix}" for suffix in ("", "_oracle")]
    errors = [evaluation.naive_baselines[key] for key in keys if key in evaluation.naive_baselines]
    for error in errors[:1]:
        axes.axhline(100 - error, color=GREY, linewidth=1, linestyle=":", label="centred box, IoU ≥ 50 %")
    axes.set(
        xlim=(0, 1), ylim=(0, 102), xlabel="threshold, fraction of the map's maximum", ylabel="images localized, %"
    )
    axes.set_title("Accuracy over threshold", fontsize=11, loc="left")
    _add_legend(axes)


def _plot_overlaps(axes: Axes, evaluation: Evaluation, counts: LocalizationCounts) -> None:
    ious = [result.iou for result in evaluation.images if not isnan(result.iou)]
    axes.hist(ious, bins=np.linspace(0, 1, 21).tolist(), color=BLUE, edgecolor="white", linewidth=0.6)
    axes.axvline(0.5, color=BLACK, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), xlabel=f"IoU of the box at threshold {evaluation.threshold:.3f}", ylabel="images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"Overlap, median {np.median(ious):.2f}", fontsize=11, loc="left")


def _plot_precision(axes: Axes, evaluation: Evaluation, counts: LocalizationCounts) -> None:
    background, foreground = (row[::-1].cumsum() for row in counts.pixel_hist)
    selected = foreground + background
    recall, precision = 100 * foreground / foreground[-1], 100 * foreground[selected > 0] / selected[selected > 0]
    axes.plot(recall[selected > 0], precision, color=GREEN)
    percent = 100 * foreground[-1] / selected[-1]
    axes.axhline(percent, color=GREY, linewidth=1, linestyle=":", label=f"object pixels, {percent:.0f} % of all")
    axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="recall of object pixels, %", ylabel="precision, %")
    pxap = evaluation.per_map[evaluation.score_map]["test/pxap"]
    axes.set_title(f"Pixels, PxAP {pxap:.1f} %", fontsize=11, loc="left")
    _add_legend(axes)


def _add_legend(axes: Axes) -> None:
    # below the axes, where it hides no curve
    axes.legend(
        fontsize=8,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(-0.14, -0.16),
        ncols=2,
        columnspacing=1,
        handlelength=1.6,
    )
