"""Tables of an evaluation: on the terminal, on the page, and as CSV."""

import csv
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spg_lightning.evaluation.results import Evaluation, localization_error

COLUMNS = {
    "gt_known_error": "GT-known\nerror",
    "gt_known_error_oracle": "\noracle",
    "loc_top1_error": "top-1\nloc",
    "loc_top5_error": "top-5\nloc",
    "max_box_acc_v2": "V2\nacc",
    "pxap": "\nPxAP",
    "threshold": "thresh-\nold",
}
# without val there are thresholds chosen on test only
ORACLE_COLUMNS = {
    "gt_known_error_oracle": "GT-known\nerror",
    "loc_top1_error_oracle": "top-1\nloc",
    "loc_top5_error_oracle": "top-5\nloc",
    "max_box_acc_iou30_oracle": "acc at\nIoU 30",
    "max_box_acc_iou50_oracle": "acc at\nIoU 50",
    "max_box_acc_iou70_oracle": "acc at\nIoU 70",
    "max_box_acc_v2_oracle": "V2\nacc",
    "pxap": "\nPxAP",
    "threshold_oracle": "thresh-\nold",
}
FLOORS = {"center": "centred box", "whole": "whole image"}


@dataclass(frozen=True)
class Row:
    """A row: `kind` is "" (a score map), "chosen" (the chosen one) or "floor"."""

    kind: str
    cells: list[str]


@dataclass(frozen=True)
class Figures:
    """The test part as a table, with what has to be said about it."""

    lead: str
    header: list[str]
    rows: list[Row]
    note: str


def figures_of(evaluation: Evaluation) -> Figures:
    """Return a row a score map, then the floors; columns nobody has a number for are left out."""
    has_val = "val" in evaluation.curves
    wanted = COLUMNS if has_val else ORACLE_COLUMNS
    numbers = evaluation.per_map[evaluation.score_map]
    columns = {key: text for key, text in wanted.items() if f"test/{key}" in numbers}
    rows = []
    for name, of_map in evaluation.per_map.items():
        several = len(evaluation.per_map) > 1
        mark = "chosen" if several and name == evaluation.score_map else ""
        cells = [_cell(of_map.get(f"test/{key}"), key) for key in columns]
        rows.append(Row(mark, [f"{name} *" if mark else name or "maps", *cells]))
    for name, text in FLOORS.items():
        known = {
            key: evaluation.naive_baselines.get(f"test/floor_{name}_{key}")
            for key in ("gt_known_error", "gt_known_error_oracle")
        }
        if name == "whole" and not has_val:  # nothing is chosen
            known["gt_known_error_oracle"] = known["gt_known_error"]
        if any(value is not None for value in known.values()):
            cells = [_cell(known[key], key) if known.get(key) is not None else "" for key in columns]
            rows.append(Row("floor", [text, *cells]))
    lead = f"{numbers['test/num_images']:.0f} images."
    right = {k: numbers[f"test/cls_top{k}_error"] for k in (1, 5) if f"test/cls_top{k}_error" in numbers}
    if right:
        errors = ", ".join(f"top-{k} {error:.1f} %" for k, error in right.items())
        lead = f"Classification error: {errors} of {numbers['test/num_images']:.0f} images."
    return Figures(lead, ["test" if has_val else "", *columns.values()], rows, _note(evaluation, bool(columns)))


def _note(evaluation: Evaluation, measured: bool) -> str:
    """Return what the numbers are, and on which photos map and threshold were chosen."""
    usual = f"boxes are drawn at the usual threshold {evaluation.threshold:g}."
    if not measured:
        return f"Neither boxes nor masks: localization is not measured; {usual}"
    told = ["Errors in percent, lower is better; accuracies (acc, PxAP): higher."]
    numbers = evaluation.per_map[evaluation.score_map]
    oracle = "test/threshold_oracle" in numbers
    if val := evaluation.curves.get("val"):
        own, threshold = val[evaluation.score_map], "test/threshold" in numbers
        chosen = ["map (*)"] * (len(val) > 1 and localization_error(own) is not None) + ["threshold"] * threshold
        if chosen:
            told.append(f"{' and '.join(chosen).capitalize()} chosen on val.")
        if not threshold:
            told.append(f"{'Test' if own.num_boxed else 'Val'} has no boxes: {usual}")
        if oracle:
            told.append("Oracle: threshold chosen on test itself.")
    elif oracle:
        told.append("Oracle: each column's threshold is chosen on these images themselves, as papers do.")
    return " ".join(told)


def print_evaluation(evaluation: Evaluation, title: str) -> None:
    """Print the test part."""
    figures = figures_of(evaluation)
    table = Table(title=escape(title), title_justify="left")
    for k, text in enumerate(figures.header):
        table.add_column(text, justify="right" if k else "left", no_wrap=k == 0)
    for before, row in zip([None, *figures.rows], figures.rows, strict=False):
        if row.kind == "floor" and before is not None and before.kind != "floor":
            table.add_section()
        table.add_row(*row.cells, style="bold" if row.kind == "chosen" else None)
    console = Console()
    console.print(table)
    console.print(f"{figures.lead} {figures.note}", highlight=False)


def write_score_map_table(path: Path, evaluation: Evaluation) -> None:
    """Write every number of every score map as rows: score map, split, metric, value."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["score_map", "split", "metric", "value"])
        for name, numbers in evaluation.per_map.items():
            writer.writerows([name, *key.split("/", 1), value] for key, value in numbers.items())
        writer.writerows(["", *key.split("/", 1), value] for key, value in evaluation.naive_baselines.items())


def _cell(value: float | None, key: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if key.startswith("threshold") else f"{value:.1f}"
