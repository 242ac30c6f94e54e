"""Render a comparison as one self-contained HTML file."""

import os
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from spg_lightning.comparison import captions
from spg_lightning.comparison.compare import Comparison
from spg_lightning.comparison.comparison_plots import (
    plot_accuracy,
    plot_differences,
    plot_sweep,
    plot_training,
    sweep_axes,
)
from spg_lightning.comparison.image_strips import image_strips
from spg_lightning.comparison.series import accuracy_curve, training_curves
from spg_lightning.comparison.summary import METRICS
from spg_lightning.comparison.variants import Variant
from spg_lightning.reporting.plots import as_svg
from spg_lightning.utils.plural import plural

NO_BREAK = "\N{NON-BREAKING HYPHEN}"


def render_page(comparison: Comparison, figures: dict[str, str], folder: Path, count: int) -> str:
    """Return the page as HTML.

    Args:
        comparison: to show.
        figures: name -> SVG, see `render_figures`.
        folder: the page's own; links to the runs' reports are relative to it.
        count: number of gallery images to show.
    """
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (files("spg_lightning.comparison") / "comparison.html").read_text(encoding="utf-8")
    )
    metrics = comparison.metrics
    return template.render(
        c=comparison,
        lead=_lead(comparison),
        metrics=metrics,
        titles={m: title.replace("top-", f"top{NO_BREAK}").replace("BoxAcc", "Box\u200bAcc") for m, title in METRICS.items()},
        captions=captions,
        differences=captions.difference_rows(comparison, metrics),
        published=[(row, captions.matching_results(row, comparison)) for row in comparison.published],
        published_metrics=captions.published_columns(comparison),
        figures=figures,
        strips=image_strips(comparison.top_variants, count),
        runs=[(v, run, _link(run.files.report, folder)) for v in comparison.variants for run in v.runs],
        made_with=_made_with(comparison.variants),
    )  # fmt: skip


def render_figures(comparison: Comparison) -> dict[str, str]:
    """Return name -> SVG of each plot that there is data for."""
    figures = {}
    variants, metric, score_map = comparison.variants, comparison.metric, comparison.score_map
    if keys := sweep_axes(variants):
        figures["sweep"] = plot_sweep(variants, keys, metric, score_map)
    found = [(v, comparison.differences.get(v.label, {}).get(metric)) for v in variants]
    pairs = [(variant, difference) for variant, difference in found if difference]
    if pairs and not keys:  # the heat map of a sweep shows more
        figures["differences"] = plot_differences(pairs, comparison.reference, metric)
    shown = comparison.top_variants
    accuracy = [(v.label, curve) for v in shown if (curve := accuracy_curve(v, score_map)) is not None]
    if accuracy:
        figures["accuracy"] = plot_accuracy(accuracy)
    if training := [(v.label, curves) for v in shown if (curves := training_curves(v))]:
        figures["training"] = plot_training(training)
    return {name: as_svg(figure) for name, figure in figures.items()}


def _lead(comparison: Comparison) -> str:
    runs = [run for v in comparison.variants for run in v.runs]
    seeds = sorted({str(run.seed) for run in runs}, key=lambda seed: (len(seed), seed))
    data = sorted({f"{v.data} / {v.runs[0].config.get('stem.name')}" for v in comparison.variants})
    counts = f"{plural(len(comparison.variants), 'variant')}, {plural(len(runs), 'run')}"
    return f"{counts}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}; {', '.join(data)}"


def _made_with(variants: list[Variant]) -> list[str]:
    """Return the commits, torch versions and devices of the runs, with counts where they differ."""
    made: list[dict[str, Any]] = [run.provenance for v in variants for run in v.runs]
    values = {
        "commit": [str(p.get("commit") or "unknown (installed package)") for p in made],
        "torch": [str(p.get("versions", {}).get("torch")) for p in made],
        "device": [str(p.get("device")) for p in made],
    }
    lines = []
    for name, listed in values.items():
        counts = Counter(listed)
        parts = [value if len(counts) == 1 else f"{value} ({plural(n, 'run')})" for value, n in counts.items()]
        lines.append(f"{name}: {', '.join(parts)}")
    return lines


def _link(report: Path, folder: Path) -> str | None:
    return quote(Path(os.path.relpath(report, folder)).as_posix()) if report.is_file() else None
