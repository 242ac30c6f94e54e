"""Write a comparison as Markdown and CSV, and print it."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import HORIZONTALS
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spg_lightning.comparison.captions import (
    comparability_note,
    difference_rows,
    difference_text,
    matching_results,
    published_columns,
    significance_note,
    table_notes,
)
from spg_lightning.comparison.compare import Comparison
from spg_lightning.comparison.summary import METRICS

TERMINAL = {"gt_known_error": "GT-known\nerror", "gt_known_error_oracle": "\noracle"}  # leaves room for names
RESULTS = (
    "run", "experiment", "commit", "seed", "device", "versions", "variant", "split", "score_map", "chosen", "metric", "value",
)  # fmt: skip


def write_table(path: Path, comparison: Comparison) -> None:
    """Write the table, the differences and the published figures as Markdown."""
    lines = [["variant", "score map", "n", *METRICS.values()]]
    for row in comparison.rows:
        name = f"{row.title} `{' '.join(row.settings)}`" if row.settings else row.title
        cells = [f"**{row.text(m)}**" if m in row.best else row.text(m) for m in METRICS]
        lines.append([name, row.origin, str(row.n), *cells])
    text = [f"# {comparison.title}", "", *_markdown(lines), "", *table_notes(comparison)]
    if comparison.differences:
        lines = [["variant", "n", *METRICS.values()]]
        for label, n, pairs in difference_rows(comparison, [*METRICS]):
            lines.append([label, str(n), *(", ".join(filter(None, pair)) if pair else "-" for pair in pairs)])
        text += ["", f"Against {comparison.reference.label}:", "", *_markdown(lines), "", significance_note(comparison)]
    if comparison.published:
        text += ["", "Published:", "", *_markdown(_published_lines(comparison)), "", comparability_note(comparison)]
    if comparison.unpaired:
        text += ["", f"Without a partner of the same seed: {', '.join(comparison.unpaired)}."]
    if comparison.left_out:
        text += ["", "Left out:", "", *(f"- {line}" for line in comparison.left_out)]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def _published_lines(comparison: Comparison) -> list[list[str]]:
    columns = published_columns(comparison)
    lines = [["variant", "source", "data", *(METRICS[m] for m in columns)]]
    for row in comparison.published:
        ours = {metric: cell.text for metric, cell in matching_results(row, comparison).items()}
        cells = [f"{row.numbers[m]:.1f} (ours {ours.get(m, '-')})" if m in row.numbers else "" for m in columns]
        lines.append([row.variant.label, row.source, f"{row.data} ({row.remark})", *cells])
    return lines


def _markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]


def write_results(path: Path, comparison: Comparison) -> None:
    """Write a row per number of every run and score map. Naive baselines have no score map."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, RESULTS)
        writer.writeheader()
        writer.writerows(_numbers(comparison))


def write_wide_results(path: Path, comparison: Comparison) -> None:
    """Write the same numbers with a row per run and score map, and a column per metric of a split, as "test/gt_known_error"."""
    facts = [name for name in RESULTS if name not in ("split", "metric", "value")]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    columns: dict[str, None] = {}
    for number in _numbers(comparison):
        row = rows.setdefault((number["run"], number["score_map"]), {name: number[name] for name in facts})
        metric = f"{number['split']}/{number['metric']}"
        row[metric], columns[metric] = number["value"], None
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*facts, *columns])
        writer.writeheader()
        writer.writerows(rows.values())


def _numbers(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Yield every number of every run, as a row with the columns `RESULTS`."""
    for variant, run in ((v, run) for v in comparison.variants for run in v.runs):
        made = run.provenance
        versions = "; ".join(f"{name} {number}" for name, number in made.get("versions", {}).items())
        facts = [run.name, comparison.title, made.get("commit"), run.seed, made.get("device"), versions, variant.label]
        for key, value in run.metrics.items():
            split, *middle, metric = key.split("/")
            if not middle and f"{split}/{run.score_map}/{metric}" in run.metrics:
                continue  # repeats a metric of the chosen map
            name = middle[0] if middle else "" if metric.startswith("floor_") else run.score_map
            row = [*facts, split, name, int(name == run.score_map), metric, value]
            yield dict(zip(RESULTS, row, strict=True))


def print_comparison(comparison: Comparison, page: Path) -> None:
    """Print the columns that fit a terminal, the runs that were left out, and where the page is."""
    title = escape(f"{comparison.title}: test split, percent")
    table = Table(title=title, title_justify="left", box=HORIZONTALS, collapse_padding=True, pad_edge=False)
    for name in ("\nvariant", "\nmap"):
        table.add_column(name, overflow="fold")  # several maps, or many overrides, take several lines
    for name in ("\nn", *TERMINAL.values(), *(["difference\n(p)"] if comparison.differences else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for previous, row in zip([None, *comparison.rows], comparison.rows, strict=False):
        if row.kind == "floor" and previous is not None and previous.kind != "floor":
            table.add_section()
        found = comparison.differences.get(row.label, {}).get(comparison.metric) if row.kind == "variant" else None
        change = ["\n".join(filter(None, difference_text(found))) if found else ""] if comparison.differences else []
        name = "" if row.kind == "map" else row.label
        table.add_row(escape(name), escape(row.origin), str(row.n), *(row.text(m) for m in TERMINAL), *change)
    console = Console()
    console.print(table)
    if comparison.differences:
        metric = METRICS.get(comparison.metric, comparison.metric)
        console.print(escape(f"difference: {metric} minus that of {comparison.reference.label}"), highlight=False)
    for line in comparison.left_out:
        console.print(escape(f"left out: {line}"), highlight=False)
    console.print(escape(f"report: {page}"), highlight=False, soft_wrap=True)
