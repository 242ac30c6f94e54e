"""The comparison as data, as Markdown and on the terminal."""

import csv
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spg_lightning.study.published import Published
from spg_lightning.study.significance import FEW, Difference
from spg_lightning.study.summary import METRICS, Cell, Row, cell_of
from spg_lightning.study.variants import Variant

MINUS = "\N{MINUS SIGN}"
TERMINAL = {"gt_known_error": "GT-known\nerror", "gt_known_error_oracle": "\noracle"}  # leaves room for names


@dataclass(frozen=True)
class Compared:
    """Everything that the table, the page and the CSV tell; see `assemble.Report`.

    `shown` are the variants of curves and galleries; `unpaired` names runs without a partner of the same seed.
    """

    title: str
    variants: list[Variant]
    shown: list[Variant]
    reference: Variant
    rows: list[Row]
    published: list[Published]
    differences: dict[str, dict[str, Difference]]
    unpaired: list[str]
    left_out: list[str]
    metric: str
    score_map: str

    @property
    def several_seeds(self) -> bool:
        """Tell whether there is a spread to speak of."""
        return any(len(v.runs) > 1 for v in self.variants)


def notes(compared: Compared) -> list[str]:
    """Return what has to be said below the table."""
    how = "Map and threshold" if compared.score_map == "auto" else "Threshold"
    said = [
        "Test part, percent. Errors: lower is better; MaxBoxAccV2 and PxAP: higher. "
        f"{how} chosen on val; oracle: threshold chosen on test itself, as papers do."
    ]
    if compared.several_seeds:
        said[0] += " Mean ± standard deviation over n seeds."
    if len({v.data for v in compared.variants}) > 1:
        said.append("The variants were run on different data sets: their numbers cannot be compared across these.")
    return said


def caution(compared: Compared) -> str:
    """Say what the published figures can be compared with."""
    where = "; ".join(sorted({_setting(variant) for variant in compared.variants}))
    text = f"Printed figures, and ours with the same switches. These runs: {where}."
    if any(row.other for row in compared.published):
        text += " Where the data or the network is another, compare the order of the methods, not the numbers."
    return text


def ours_beside(row: Published, compared: Compared) -> dict[str, Cell]:
    """Return our numbers in the metrics that a printed row has."""
    cells = {m: cell_of([run.number(m, compared.score_map) for run in row.variant.runs]) for m in row.numbers}
    return {metric: cell for metric, cell in cells.items() if cell}


def published_columns(compared: Compared) -> list[str]:
    """Return the metrics that any printed row has."""
    return [m for m in METRICS if any(m in row.numbers for row in compared.published)]


def weakness(compared: Compared) -> str:
    """Say how far the differences can be trusted."""
    counts = [len(d.values) for of_variant in compared.differences.values() for d in of_variant.values()]
    if not counts:
        return "No variant has a seed in common with the reference: there is nothing to test."
    text = (
        f"Variant minus {compared.reference.label}, over the seeds that both were run with: mean ± standard error; "
        "p of the two-sided paired t-test, not corrected for the number of comparisons."
    )
    if min(counts) < 2:
        text += " With one common seed there is no test, and no telling a difference from the seed's noise."
    if any(1 < count < FEW for count in counts):
        text += f" With fewer than {FEW} seeds the test is weak: a large p does not say that there is no difference."
    return text


def difference_text(found: Difference) -> tuple[str, str]:
    """Return a difference and its p-value as shown."""
    mean = f"{found.mean:+.1f}".replace("-", MINUS)
    if mean[1:] == "0.0":
        mean = "0.0"
    if found.error is None:
        return mean, ""
    if found.p is None:
        return f"{mean} ± 0.0", "same in all seeds"
    return f"{mean} ± {found.error:.1f}", "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"


def columns_of(compared: Compared) -> list[str]:
    """Return the metrics that any row has a number of."""
    return [m for m in METRICS if any(row.cells.get(m) for row in compared.rows)]


def write_table(path: Path, compared: Compared) -> None:
    """Write the table and the differences as Markdown."""
    metrics = [*METRICS]
    lines = [["variant", "score map", "n", *METRICS.values()], ["---"] * (3 + len(metrics))]
    for row in compared.rows:
        name = f"{row.title} `{' '.join(row.settings)}`" if row.settings else row.title
        cells = [f"**{row.text(m)}**" if m in row.best else row.text(m) for m in metrics]
        lines.append([name, row.origin, str(row.n), *cells])
    text = [f"# {compared.title}", "", *_markdown(lines), "", *notes(compared)]
    if compared.differences:
        lines = [["variant", "n", *METRICS.values()], ["---"] * (2 + len(metrics))]
        for label, of_variant in compared.differences.items():
            cells = [
                ", ".join(filter(None, difference_text(of_variant[m]))) if m in of_variant else "-" for m in metrics
            ]
            lines.append([label, str(max(len(d.values) for d in of_variant.values())), *cells])
        text += ["", f"Against {compared.reference.label}:", "", *_markdown(lines), "", weakness(compared)]
    if compared.published:
        columns = published_columns(compared)
        lines = [["variant", "source", "data", *(METRICS[m] for m in columns)], ["---"] * (3 + len(columns))]
        for printed in compared.published:
            ours = ours_beside(printed, compared)
            cells = [
                f"{printed.numbers[m]:.1f} (ours {ours[m].text if m in ours else '-'})" if m in printed.numbers else ""
                for m in columns
            ]
            data = f"{printed.data} ({printed.remark})"
            lines.append([printed.variant.label, printed.source, data, *cells])
        text += ["", "Published:", "", *_markdown(lines), "", caution(compared)]
    if compared.unpaired:
        text += ["", f"Without a partner of the same seed: {', '.join(compared.unpaired)}."]
    if compared.left_out:
        text += ["", "Left out:", "", *(f"- {line}" for line in compared.left_out)]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def write_results(path: Path, compared: Compared) -> None:
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


def print_study(compared: Compared, page: Path) -> None:
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


def _setting(variant: Variant) -> str:
    run = variant.runs[0]
    photos = run.facts.get("photos")
    count = f" ({photos['test']} test photos)" if isinstance(photos, dict) and "test" in photos else ""
    return f"{variant.data}{count}, {run.config.get('stem.name')}"
