"""The page: one HTML file with everything in it."""

import os
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from spg_lightning.comparison.captions import (
    Comparison,
    columns_of,
    comparability_note,
    difference_text,
    matching_results,
    published_columns,
    significance_note,
    table_notes,
)
from spg_lightning.comparison.comparison_plots import (
    plot_accuracy,
    plot_differences,
    plot_sweep,
    plot_training,
    sweep_axes,
)
from spg_lightning.comparison.photo_strips import strips
from spg_lightning.comparison.series import accuracy_curve, training_curves
from spg_lightning.comparison.summary import METRICS
from spg_lightning.comparison.variants import Variant
from spg_lightning.reporting.plots import as_svg

NO_BREAK = "\N{NON-BREAKING HYPHEN}"


def render(compared: Comparison, figures: dict[str, str], folder: Path, photos: int) -> str:
    """Return the page's text.

    Args:
        compared: what to tell.
        figures: name -> <svg>, see `figures_of`.
        folder: where the page will lie: it links the runs' own reports from there.
        photos: how many photos of the galleries to show.
    """
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (files("spg_lightning.comparison") / "comparison.html").read_text(encoding="utf-8")
    )
    metrics = columns_of(compared)
    return template.render(
        c=compared,
        lead=_lead(compared),
        metrics=metrics,
        titles={m: title.replace("top-", f"top{NO_BREAK}").replace("BoxAcc", "Box\u200bAcc") for m, title in METRICS.items()},
        notes=table_notes(compared),
        weakness=significance_note(compared),
        differences=[
            (label, max(len(d.values) for d in found.values()), [difference_text(found[m]) if m in found else None for m in metrics])
            for label, found in compared.differences.items()
        ],
        published=[(row, matching_results(row, compared)) for row in compared.published],
        published_metrics=published_columns(compared),
        caution=comparability_note(compared),
        figures=figures,
        strips=strips(compared.shown, photos),
        runs=[(v, run, _link(run.folder, folder)) for v in compared.variants for run in v.runs],
        made_with=_made_with(compared.variants),
    )  # fmt: skip


def _lead(compared: Comparison) -> str:
    count = sum(len(v.runs) for v in compared.variants)
    seeds = sorted({str(run.seed) for v in compared.variants for run in v.runs}, key=lambda s: (len(s), s))
    data = sorted({f"{v.data} / {v.runs[0].config.get('stem.name')}" for v in compared.variants})
    return (
        f"{_many(len(compared.variants), 'variant')}, {_many(count, 'run')}, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}; {', '.join(data)}"
    )


def figures_of(compared: Comparison) -> dict[str, str]:
    """Return name -> <svg> of the plots there is data for."""
    found = {}
    keys = sweep_axes(compared.variants)
    if keys is not None:
        found["sweep"] = as_svg(plot_sweep(compared.variants, keys, compared.metric, compared.score_map))
    by_label = {v.label: v for v in compared.variants}
    pairs = [
        (by_label[label], of_variant[compared.metric])
        for label, of_variant in compared.differences.items()
        if compared.metric in of_variant
    ]
    if pairs and keys is None:  # a sweep's heat map says it better
        found["differences"] = as_svg(plot_differences(pairs, compared.reference, compared.metric))
    accuracy = [
        (v.label, curve) for v in compared.shown if (curve := accuracy_curve(v, compared.score_map)) is not None
    ]
    if accuracy:
        found["accuracy"] = as_svg(plot_accuracy(accuracy))
    training = [(v.label, curves) for v in compared.shown if (curves := training_curves(v))]
    if training:
        found["training"] = as_svg(plot_training(training))
    return found


def _made_with(variants: list[Variant]) -> list[str]:
    """Say which code, versions and devices the runs come from, and where they differ."""
    facts: list[dict[str, Any]] = [run.facts for v in variants for run in v.runs]
    said = []
    for name, values in (
        ("commit", [str(f.get("commit") or "unknown (installed package)") for f in facts]),
        ("torch", [str(f.get("versions", {}).get("torch")) for f in facts]),
        ("device", [str(f.get("device")) for f in facts]),
    ):
        counted = Counter(values)
        listed = [value if len(counted) == 1 else f"{value} ({_many(n, 'run')})" for value, n in counted.items()]
        said.append(f"{name}: {', '.join(listed)}")
    return said


def _link(run: Path, folder: Path) -> str | None:
    """Return the way from the page to a run's own report."""
    if not (run / "report.html").is_file():
        return None
    return quote(Path(os.path.relpath(run / "report.html", folder)).as_posix())


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
