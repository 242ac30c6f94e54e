"""Plot several variants: the heat map of a sweep, differences from the reference, accuracy and training curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spg_lightning.comparison.series import Series
from spg_lightning.comparison.significance import Difference
from spg_lightning.comparison.summary import METRICS, Cell, lower_is_better, mean_of
from spg_lightning.comparison.variants import Variant, is_number
from spg_lightning.reporting.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, plain_text, tidy

# Okabe and Ito's colours, black for the reference; `MAX_SHOWN` of them
COLOURS = (BLACK, BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", VERMILION, "#B8A800")


def sweep_axes(variants: Sequence[Variant]) -> tuple[str, str] | None:
    """Return the keys (y, x) of a sweep over two numbers, or None if anything else varies."""
    keys = list(variants[0].values)
    is_sweep = len({(v.title, v.data) for v in variants}) == 1 and len(keys) == 2
    return (keys[0], keys[1]) if is_sweep and all(is_number(v.values[key]) for v in variants for key in keys) else None


def plot_sweep(variants: Sequence[Variant], keys: tuple[str, str], metric: str, score_map: str) -> Figure:
    """Draw a metric over two keys, on val and on test. The cell that is best on val is framed in both."""
    ys, xs = (sorted({v.values[key] for v in variants}) for key in keys)
    splits: dict[str, dict[tuple[int, int], Cell]] = {}
    for split in ("val", "test"):
        for variant in variants:
            if cell := mean_of(variant, metric, score_map, split):
                place = ys.index(variant.values[keys[0]]), xs.index(variant.values[keys[1]])
                splits.setdefault(split, {})[place] = cell
    sign = 1 if lower_is_better(metric) else -1
    first = next(iter(splits.values()))
    best = min(first, key=lambda place: sign * first[place].mean)
    means = [cell.mean for cells in splits.values() for cell in cells.values()]
    colours = ScalarMappable(Normalize(min(means), max(means)), "cividis_r" if sign > 0 else "cividis")
    size = (max(4.2, 0.95 * len(xs) + 1.6) * len(splits), max(2.6, 0.55 * len(ys) + 1.5))
    figure = Figure(figsize=size, layout="constrained")
    for axes, (split, cells) in zip(np.atleast_1d(figure.subplots(1, len(splits))), splits.items(), strict=True):
        _draw_cells(axes, cells, (len(ys), len(xs)), colours)
        if best in cells:
            corner = (best[1] - 0.47, best[0] - 0.47)
            axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=VERMILION, linewidth=2.5))
        axes.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
        axes.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
        axes.set(xlabel=plain_text(keys[1]), ylabel=plain_text(keys[0]))
        axes.set_title(f"{_metric_title(metric)}, {split}", fontsize=11, loc="left")
    figure.colorbar(colours, ax=figure.axes, shrink=0.9).outline.set_visible(False)
    return figure


def _draw_cells(
    axes: Axes, cells: dict[tuple[int, int], Cell], shape: tuple[int, int], colours: ScalarMappable
) -> None:
    grid = np.full(shape, np.nan)
    for place, cell in cells.items():
        grid[place] = cell.mean
    axes.imshow(
        grid,
        cmap=colours.cmap,
        norm=colours.norm,  # type: ignore[arg-type]
        origin="lower",
        aspect="auto",
    )
    for (y, x), cell in cells.items():
        brightness = np.dot(colours.to_rgba(cell.mean)[:3], (0.299, 0.587, 0.114))  # type: ignore[arg-type]
        colour = "white" if brightness < 0.5 else BLACK
        axes.text(x, y, cell.text.replace(" ± ", "\n± "), ha="center", va="center", fontsize=8, color=colour)
    axes.spines[:].set_visible(False)


def plot_differences(pairs: Sequence[tuple[Variant, Difference]], reference: Variant, metric: str) -> Figure:
    """Draw the mean difference of each variant with its standard error, and a small dot per seed."""
    figure = Figure(figsize=(8.6, 1.15 + 0.42 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for row, (_, found) in enumerate(pairs):
        if len(found.values) > 1:
            below = [row + 0.22] * len(found.values)  # the mean's dot would hide them
            axes.plot(found.values, below, "o", color=GREY, markersize=3.5, alpha=0.8, zorder=2)
        axes.errorbar(
            [found.mean], [row], xerr=None if found.error is None else [found.error], fmt="o",
            color=BLUE, markersize=7, capsize=4, linewidth=1.6, zorder=3,
        )  # fmt: skip
    axes.axvline(0, color=BLACK, linewidth=1)
    axes.set_yticks(range(len(pairs)), [plain_text(variant.label) for variant, _ in pairs], fontsize=9)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    better = "left of the line is better" if lower_is_better(metric) else "right of the line is better"
    label = f"{_metric_title(metric)} minus that of {plain_text(reference.label)}, points; {better}"
    axes.set_xlabel(label, fontsize=9, loc="right")  # long names leave the axes little width
    tidy(axes)
    return figure


def plot_accuracy(curves: Sequence[tuple[str, Series]]) -> Figure:
    """Draw accuracy over threshold, a line per variant."""
    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    axes = figure.subplots()
    for (label, (x, y)), colour in zip(curves, COLOURS, strict=False):
        axes.plot(x, y, color=colour, label=plain_text(label), linewidth=1.6)
    axes.set(
        xlim=(0, 1), ylim=(0, 102), xlabel="threshold, fraction of the map's maximum", ylabel="images localized, %"
    )
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    tidy(axes)
    return figure


def plot_training(curves: Sequence[tuple[str, dict[str, Series]]]) -> Figure:
    """Draw every logged loss and validation error over the steps: a panel each, a line per variant."""
    names = {name for _, by_name in curves for name in by_name}
    ordered = sorted(names, key=lambda name: (not name.startswith("train/"), not name.endswith("loss_total"), name))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(max(2.9 * columns, 5.8), 2.5 * rows + 0.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, name in zip(panels, ordered, strict=False):
        for (_, by_name), colour in zip(curves, COLOURS, strict=False):
            if name in by_name:
                marker = "o" if by_name[name].shape[1] == 1 else None
                axes.plot(*by_name[name], color=colour, linewidth=1.4, marker=marker)
        axes.set_title(plain_text(name), fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step", fontsize=8)
        tidy(axes)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    lines = [panels[0].plot([], [], color=colour)[0] for _, colour in zip(curves, COLOURS, strict=False)]
    labels = [plain_text(label) for label, _ in curves]
    figure.legend(lines, labels, loc="outside upper left", fontsize=8, frameon=False, ncols=min(4, len(labels)))
    return figure


def _metric_title(metric: str) -> str:
    return plain_text(METRICS.get(metric, metric))
