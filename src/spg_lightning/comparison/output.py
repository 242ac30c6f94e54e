"""The comparison as data, as Markdown and on the terminal."""

import csv
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spg_lightning.comparison.captions import (
    Comparison,
    comparability_note,
    difference_text,
    matching_results,
    published_columns,
    significance_note,
    table_notes,
)
from spg_lightning.comparison.summary import METRICS

TERMINAL = {"gt_known_error": "GT-known\nerror", "gt_known_error_oracle": "\noracle"}  # leaves room for names


def write_table(path: Path, compared: Comparison) -> None:
    """Write the table and the differences as Markdown."""
    metrics = [*METRICS]
    lines = [["variant", "score map", "n", *METRICS.values()], ["---"] * (3 + len(metrics))]
    for row in compared.rows:
        name = f"{row.title} `{' '.join(row.settings)}`" if row.settings else row.title
        cells = [f"**{row.text(m)}**" if m in row.best else row.text(m) for m in metrics]
        lines.append([name, row.origin, str(row.n), *cells])
    text = [f"# {compared.title}", "", *_markdown(lines), "", *table_notes(compared)]
    if compared.differences:
        lines = [["variant", "n", *METRICS.values()], ["---"] * (2 + len(metrics))]
        for label, of_variant in compared.differences.items():
            cells = [
                ", ".join(filter(None, difference_text(of_variant[m]))) if m in of_variant else "-" for m in metrics
            ]
            lines.append([label, str(max(len(d.values) for d in of_variant.values())), *cells])
        text += ["", f"Against {compared.reference.label}:", "", *_markdown(lines), "", significance_note(compared)]
    if compared.published:
        columns = published_columns(compared)
        lines = [["variant", "source", "data", *(METRICS[m] for m in columns)], ["---"] * (3 + len(columns))]
        for printed in compared.published:
            ours = matching_results(printed, compared)
            cells = [
                f"{printed.numbers[m]:.1f} (ours {ours[m].text if m in ours else '-'})" if m in printed.numbers else ""
                for m in columns
            ]
            data = f"{printed.data} ({printed.remark})"
            lines.append([printed.variant.label, printed.source, data, *cells])
        text += ["", "Published:", "", *_markdown(lines), "", comparability_note(compared)]
    if compared.unpaired:
        text += ["", f"Without a partner of the same seed: {', '.join(compared.unpaired)}."]
    if compared.left_out:
        text += ["", "Left out:", "", *(f"- {line}" for line in compared.left_out)]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def write_results(path: Path, compared: Comparison) -> None:
    """Write a row a number of every run and score map; floors have no score map."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["run", "experiment", "commit", "seed", "device", "versions", "variant", "split", "score_map", "chosen", "metric", "value"]
        )  # fmt: skip
        for variant in compared.variants:
            for run in variant.runs:
                versions = "; ".join(f"{name} {number}" for name, number in run.facts.get("versions", {}).items())
                facts = [run.facts.get("commit"), run.seed, run.facts.get("device"), versions]
                for key, value in run.numbers.items():
                    split, *between, metric = key.split("/")
                    if not between and f"{split}/{run.score_map}/{metric}" in run.numbers:
                        continue  # the chosen map's again
                    name = between[0] if between else "" if metric.startswith("floor_") else run.score_map
                    chosen = int(name == run.score_map)
                    writer.writerow(
                        [run.name, compared.title, *facts, variant.label, split, name, chosen, metric, value]
                    )


def print_study(compared: Comparison, page: Path) -> None:
    """Print the columns that fit a terminal, and what needs attention."""
    table = Table(title=escape(f"{compared.title}: test part, percent"), title_justify="left")
    table.add_column("\nvariant", overflow="fold")
    for name in ("\nmap", "\nn", *TERMINAL.values(), *(["difference\n(p)"] if compared.differences else [])):
        table.add_column(name, justify="left" if name == "\nmap" else "right", no_wrap=True)
    for before, row in zip([None, *compared.rows], compared.rows, strict=False):
        if row.kind == "floor" and before is not None and before.kind != "floor":
            table.add_section()
        found = compared.differences.get(row.label, {}).get(compared.metric) if row.kind == "variant" else None
        told = "\n".join(filter(None, difference_text(found))) if found else ""
        name = row.label if row.kind != "map" else ""
        table.add_row(escape(name), escape(row.origin), str(row.n), *(row.text(m) for m in TERMINAL), told)
    console = Console()
    console.print(table)
    if compared.differences:
        metric = METRICS.get(compared.metric, compared.metric)
        console.print(escape(f"difference: {metric} minus that of {compared.reference.label}"), highlight=False)
    for line in compared.left_out:
        console.print(escape(f"left out: {line}"), highlight=False)
    console.print(escape(f"report: {page}"), highlight=False, soft_wrap=True)


def _markdown(lines: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]
