"""Tabulate an evaluation for the terminal, the page and CSV."""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rich.box import HORIZONTALS
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spg_lightning.data.records import MIN_ANNOTATED_VAL
from spg_lightning.evaluation.results import Evaluation, choice_error
from spg_lightning.utils.plural import plural

COLUMNS = {
    "gt_known_error": "GT-known\nerror",
    "gt_known_error_oracle": "\noracle",
    "loc_top1_error": "top-1\nloc",
    "loc_top5_error": "top-5\nloc",
    "max_box_acc_v2": "V2\nacc",
    "pxap": "\nPxAP",
    "mask_iou": "mask\nIoU",
    "threshold": "thres-\nhold",
}
# without val, thresholds are chosen on test only
ORACLE_COLUMNS = {
    "gt_known_error_oracle": "GT-known\nerror",
    "loc_top1_error_oracle": "top-1\nloc",
    "loc_top5_error_oracle": "top-5\nloc",
    "max_box_acc_iou30_oracle": "acc at\nIoU 30",
    "max_box_acc_iou50_oracle": "acc at\nIoU 50",
    "max_box_acc_iou70_oracle": "acc at\nIoU 70",
    "max_box_acc_v2_oracle": "V2\nacc",
    "pxap": "\nPxAP",
    "mask_iou_oracle": "mask\nIoU",
    "threshold_oracle": "thres-\nhold",
}
FLOORS = {"training_free": "training-free", "center": "centred box", "whole": "whole image"}


@dataclass(frozen=True)
class TableRow:
    """A table row: `kind` is "" (a score map), "chosen" (the chosen one) or "floor" (a naive baseline)."""

    kind: str
    cells: list[str]


@dataclass(frozen=True)
class ResultTable:
    """The test split as a table, with a lead above and a note below."""

    lead: str
    header: list[str]
    rows: list[TableRow]
    note: str


def result_table(evaluation: Evaluation) -> ResultTable:
    """Return a row per score map, then the naive baselines. Columns without numbers are left out."""
    has_val = "val" in evaluation.curves
    numbers = evaluation.per_map[evaluation.score_map]
    wanted = COLUMNS if has_val else ORACLE_COLUMNS
    columns = {key: title for key, title in wanted.items() if f"test/{key}" in numbers}
    rows = []
    for name, values in evaluation.per_map.items():
        is_chosen = len(evaluation.per_map) > 1 and name == evaluation.score_map
        cells = [_cell(values.get(f"test/{key}"), key) for key in columns]
        rows.append(TableRow("chosen" if is_chosen else "", [f"{name} *" if is_chosen else name or "maps", *cells]))
    for name, title in FLOORS.items():
        found = {key: evaluation.naive_baselines.get(f"test/floor_{name}_{key}") for key in columns}
        if name == "whole" and not has_val:  # the whole image has no threshold to choose
            found["gt_known_error_oracle"] = evaluation.naive_baselines.get("test/floor_whole_gt_known_error")
        if any(value is not None for value in found.values()):
            cells = ["" if value is None else _cell(value, key) for key, value in found.items()]
            rows.append(TableRow("floor", [title, *cells]))
    return ResultTable(
        _lead(numbers, evaluation.crops),
        ["test" if has_val else "", *columns.values()],
        rows,
        _note(evaluation, bool(columns)),
    )


def _cell(value: float | None, key: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if key.startswith("threshold") else f"{value:.1f}"


def _lead(numbers: dict[str, float], crops: int | None) -> str:
    errors = {k: numbers[f"test/cls_top{k}_error"] for k in (1, 5) if f"test/cls_top{k}_error" in numbers}
    listed = ", ".join(f"top-{k} {error:.1f} %" for k, error in errors.items())
    over = f" (class scores: mean over {crops} crops of an image)" if crops and errors else ""
    return f"{f'Classification error: {listed} of ' if errors else ''}{numbers['test/num_images']:.0f} images{over}."


def _note(evaluation: Evaluation, is_measured: bool) -> str:
    """Explain the numbers, and on which split map and threshold were chosen."""
    if not is_measured:
        return f"Neither boxes nor masks: localization is not measured; {_drawn_threshold(evaluation)}"
    note = ["Errors in percent, lower is better; accuracies (acc, PxAP): higher is better."]
    numbers = evaluation.per_map[evaluation.score_map]
    has_threshold, has_oracle = "test/threshold" in numbers, "test/threshold_oracle" in numbers
    if val := evaluation.curves.get("val"):
        has_choice = len(val) > 1 and choice_error(val[evaluation.score_map]) is not None
        chosen = ["map (*)"] * has_choice + ["threshold"] * has_threshold
        if chosen:
            by = _pseudo(evaluation) or chosen_by({val[evaluation.score_map].num_boxed})
            best = " for the best mean IoU" if val[evaluation.score_map].choose_by == "mean_iou" else ""
            note.append(f"{' and '.join(chosen).capitalize()} chosen on val{best}{by}.")
        if not has_threshold:
            missing = "Test" if val[evaluation.score_map].num_boxed else "Val"
            note.append(f"{missing} has no boxes: {_drawn_threshold(evaluation)}")
        if has_oracle:
            note.append("Oracle: threshold chosen on test itself.")
    elif has_oracle:
        note.append("Oracle: the threshold of each column is chosen on these images themselves, as papers do.")
    frame = evaluation.frame
    note.append(f"Compared at {f'{frame[0]} x {frame[1]} pixels' if frame else 'the own size of each map'}.")
    return " ".join(note) + scored_on({numbers["test/num_boxed"]})


def _drawn_threshold(evaluation: Evaluation) -> str:
    """Say where the threshold of boxes that are not scored comes from."""
    val = evaluation.curves.get("val")
    if val and val[evaluation.score_map].num_boxed:
        return f"boxes are drawn at the threshold {evaluation.threshold:g}, chosen on val{_pseudo(evaluation)}."
    return f"boxes are drawn at the default threshold {evaluation.threshold:g}."


def chosen_by(counts: Collection[float]) -> str:
    """Return how many val images with boxes chose, and whether they are too few; "" where masks chose.

    Args:
        counts: of the runs that share the sentence.
    """
    if not max(counts, default=0):
        return ""
    few = f": too few to rely on, give boxes to {MIN_ANNOTATED_VAL} or more val images"
    return f" by {_boxed_images(counts)}{few if min(counts) < MIN_ANNOTATED_VAL else ''}"


def scored_on(counts: Collection[float]) -> str:
    """Return the sentence that says how many test images with boxes score; "" where none does."""
    return f" Scored on {_boxed_images(counts)}." if max(counts, default=0) else ""


def _boxed_images(counts: Collection[float]) -> str:
    low, high = min(counts), max(counts)
    return f"{'' if low == high else f'{low:.0f} to '}{plural(int(high), 'image')} with boxes"


def _pseudo(evaluation: Evaluation) -> str:
    name = evaluation.pseudo_boxes
    return f" by the boxes of {name}, not by ground truth" if name else ""


def print_evaluation(evaluation: Evaluation, title: str) -> None:
    """Print the test split."""
    content = result_table(evaluation)
    table = Table(title=escape(title), title_justify="left", box=HORIZONTALS, collapse_padding=True, pad_edge=False)
    for index, text in enumerate(content.header):
        table.add_column(text, justify="right" if index else "left", no_wrap=index == 0)
    for previous, row in zip([None, *content.rows], content.rows, strict=False):
        if row.kind == "floor" and previous is not None and previous.kind != "floor":
            table.add_section()
        table.add_row(*row.cells, style="bold" if row.kind == "chosen" else None)
    console = Console()
    if len(content.header) > 1:
        console.print(table)
    else:  # nothing was measured
        console.print(title, highlight=False, markup=False)
    console.print(f"{content.lead} {content.note}", highlight=False)


def write_score_map_table(path: Path, evaluation: Evaluation) -> None:
    """Write every number as a row: score map ("" for a naive baseline), split, metric, value."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["score_map", "split", "metric", "value"])
        for name, numbers in [*evaluation.per_map.items(), ("", evaluation.naive_baselines)]:
            writer.writerows([name, *key.split("/", 1), value] for key, value in numbers.items())
