"""Plots of several variants: a sweep's heat map, differences from the reference, accuracy and training curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spg_lightning.comparison.keys import is_number
from spg_lightning.comparison.presets import text_of
from spg_lightning.comparison.series import Series
from spg_lightning.comparison.significance import Difference
from spg_lightning.comparison.summary import METRICS, cell_of, lower_is_better
from spg_lightning.comparison.variants import Variant
from spg_lightning.reporting.plots import BLACK, BLUE, GREEN, GREY, ORANGE

# Okabe and Ito's, the reference's black first; as many variants as these have a colour each
COLOURS = (BLACK, BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#B8A800")


def sweep_axes(variants: Sequence[Variant]) -> tuple[str, str] | None:
    """Return the two keys of a sweep over two numbers: y (the first) and x; None where something else varies."""
    keys = list(variants[0].values)
    numeric = all(is_number(v.values[key]) for v in variants for key in keys)
    return (keys[0], keys[1]) if len(keys) == 2 and numeric else None


def plot_sweep(variants: Sequence[Variant], keys: tuple[str, str], metric: str, score_map: str) -> Figure:
    """Draw the metric over both keys, on val (to choose by) and on test; the best on val is framed in both."""
    ys, xs = (sorted({v.values[key] for v in variants}) for key in keys)
    places = {(ys.index(v.values[keys[0]]), xs.index(v.values[keys[1]])): v for v in variants}
    cells = {
        split: {
            at: c for at, v in places.items() if (c := cell_of([r.number(metric, score_map, split) for r in v.runs]))
        }
        for split in ("val", "test")
    }
    cells = {split: of_split for split, of_split in cells.items() if of_split}
    means = [cell.mean for of_split in cells.values() for cell in of_split.values()]
    low, high = min(means), max(means)
    sign = 1 if lower_is_better(metric) else -1
    chosen_on = next(iter(cells))
    chosen = min(cells[chosen_on], key=lambda at: sign * cells[chosen_on][at].mean)
    size = (max(4.2, 0.95 * len(xs) + 1.6) * len(cells), max(2.6, 0.55 * len(ys) + 1.5))
    figure = Figure(figsize=size, layout="constrained")
    for axes, (split, of_split) in zip(np.atleast_1d(figure.subplots(1, len(cells))), cells.items(), strict=True):
        grid = np.full((len(ys), len(xs)), np.nan)
        for at, cell in of_split.items():
            grid[at] = cell.mean
        shown = axes.imshow(
            grid, cmap="cividis_r" if sign > 0 else "cividis", origin="lower", aspect="auto", vmin=low, vmax=high
        )
        for (y, x), cell in of_split.items():
            shade = np.dot(shown.to_rgba(cell.mean)[:3], (0.299, 0.587, 0.114))
            colour = "white" if shade < 0.5 else BLACK
            axes.text(x, y, cell.text.replace(" ± ", "\n± "), ha="center", va="center", fontsize=8, color=colour)
        if chosen in of_split:
            y, x = chosen
            frame = Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, edgecolor="#D55E00", linewidth=2.5)
            axes.add_patch(frame)
        axes.set_xticks(range(len(xs)), [text_of(x) for x in xs])
        axes.set_yticks(range(len(ys)), [text_of(y) for y in ys])
        axes.set(xlabel=_plain(keys[1]), ylabel=_plain(keys[0]))
        axes.set_title(f"{_plain(METRICS.get(metric, metric))}, {split}", fontsize=11, loc="left")
        axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=figure.axes, shrink=0.9).outline.set_visible(False)
    return figure


def plot_differences(pairs: Sequence[tuple[Variant, Difference]], reference: Variant, metric: str) -> Figure:
    """Draw each variant's mean difference with its standard error, and a small dot a seed."""
    figure = Figure(figsize=(8.6, 1.15 + 0.42 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for place, (_, found) in enumerate(pairs):
        if len(found.values) > 1:
            seeds = [place + 0.22] * len(found.values)  # below the mean, which would hide them
            axes.plot(found.values, seeds, "o", color=GREY, markersize=3.5, alpha=0.8, zorder=2)
        axes.errorbar(
            [found.mean], [place], xerr=None if found.error is None else [found.error], fmt="o",
            color=BLUE, markersize=7, capsize=4, linewidth=1.6, zorder=3,
        )  # fmt: skip
    axes.axvline(0, color=BLACK, linewidth=1)
    axes.set_yticks(range(len(pairs)), [_plain(variant.label) for variant, _ in pairs], fontsize=9)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    better = "left of the line is better" if lower_is_better(metric) else "right of the line is better"
    name = _plain(METRICS.get(metric, metric))
    axes.set_xlabel(f"{name} minus that of {_plain(reference.label)}, points; {better}", fontsize=9)
    _tidy(axes)
    return figure


def plot_accuracy(curves: Sequence[tuple[str, Series]]) -> Figure:
    """Draw accuracy over threshold, a line a variant."""
    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    axes = figure.subplots()
    for (label, (x, y)), colour in zip(curves, COLOURS, strict=False):
        axes.plot(x, y, color=colour, label=_plain(label), linewidth=1.6)
    axes.set(xlim=(0, 1), ylim=(0, 102), xlabel="threshold, share of the map's maximum", ylabel="images right, %")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _tidy(axes)
    return figure


def plot_training(curves: Sequence[tuple[str, dict[str, Series]]]) -> Figure:
    """Draw every logged loss and validation error over the steps, a panel each, a line a variant."""
    names = sorted({name for _, of_variant in curves for name in of_variant}, key=_panel_order)
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(max(2.9 * columns, 5.8), 2.5 * rows + 0.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, name in zip(panels, names, strict=False):
        for (_, of_variant), colour in zip(curves, COLOURS, strict=False):
            if name in of_variant:
                marker = "o" if of_variant[name].shape[1] == 1 else None
                axes.plot(*of_variant[name], color=colour, linewidth=1.4, marker=marker)
        axes.set_title(_plain(name), fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step", fontsize=8)
        _tidy(axes)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    lines = [panels[0].plot([], [], color=colour)[0] for _, colour in zip(curves, COLOURS, strict=False)]
    labels = [_plain(label) for label, _ in curves]
    figure.legend(lines, labels, loc="outside upper left", fontsize=8, frameon=False, ncols=min(4, len(labels)))
    return figure


def _panel_order(name: str) -> tuple[bool, bool, str]:
    return (not name.startswith("train/"), not name.endswith("loss_total"), name)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _plain(text: str) -> str:
    """Return text that matplotlib takes as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")
