"""Tables of an evaluation: on the terminal and as CSV."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:  # evaluation prints its table through this module
    from spg_lightning.evaluation import Evaluation


COLUMNS = {
    "gt_known_error": "GT-known\nerror",
    "gt_known_error_oracle": "\noracle",
    "loc_top1_error": "top-1\nloc",
    "loc_top5_error": "top-5\nloc",
    "max_box_acc_v2": "V2\nacc",
    "pxap": "\nPxAP",
    "threshold": "thresh-\nold",
}


def print_evaluation(evaluation: "Evaluation", title: str) -> None:
    """Print the test part: a row a score map, the chosen one marked, then the floors."""
    table = Table(title=title, title_justify="left")
    table.add_column("test", no_wrap=True)
    for text in COLUMNS.values():
        table.add_column(text, justify="right")
    for name, numbers in evaluation.per_map.items():
        chosen = name == evaluation.score_map
        cells = [_cell(numbers.get(f"test/{key}"), key) for key in COLUMNS]
        table.add_row(f"{name} *" if chosen else name, *cells, style="bold" if chosen else None)
    table.add_section()
    for name, text in (("center", "centred box"), ("whole", "whole image")):
        error = evaluation.floors[f"test/floor_{name}_gt_known_error"]
        oracle = evaluation.floors.get(f"test/floor_{name}_gt_known_error_oracle")
        known = {"gt_known_error": error, "gt_known_error_oracle": oracle}
        table.add_row(text, *(_cell(known[key], key) if known.get(key) is not None else "" for key in COLUMNS))
    console = Console()
    console.print(table)
    numbers = evaluation.per_map[evaluation.score_map]
    console.print(
        f"Classification error: top-1 {numbers['test/cls_top1_error']:.1f} %, top-5 {numbers['test/cls_top5_error']:.1f} % "
        f"of {numbers['test/num_images']:.0f} photos. Errors in percent, lower is better; accuracies (acc, PxAP): higher. "
        "Map (*) and threshold chosen on val; oracle: threshold chosen on test itself.",
        highlight=False,
    )


def write_score_map_table(path: Path, evaluation: "Evaluation") -> None:
    """Write every number of every score map as rows: score map, split, metric, value."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["score_map", "split", "metric", "value"])
        for name, numbers in evaluation.per_map.items():
            writer.writerows([name, *key.split("/", 1), value] for key, value in numbers.items())
        writer.writerows(["", *key.split("/", 1), value] for key, value in evaluation.floors.items())


def _cell(value: float | None, key: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if key == "threshold" else f"{value:.1f}"
