"""The table: a row a variant, mean and spread over its seeds, the floors below."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spg_lightning.comparison.variants import Variant, label_of
from spg_lightning.reporting.tables import FLOORS

METRICS = {
    "gt_known_error": "GT-known error",
    "gt_known_error_oracle": "oracle",
    "loc_top1_error": "top-1 loc",
    "loc_top5_error": "top-5 loc",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
    "cls_top1_error": "cls top-1",
    "cls_top5_error": "cls top-5",
}


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation over n seeds; no standard deviation of one seed."""

    mean: float
    sd: float | None
    n: int

    @property
    def text(self) -> str:
        """Return the mean, with the spread where there is one."""
        return f"{self.mean:.1f}" if self.sd is None else f"{self.mean:.1f} ± {self.sd:.1f}"


@dataclass(frozen=True)
class Row:
    """A row: `kind` is "variant", "reference", "map" (one score map of a variant) or "floor".

    `title` and `settings` say what it is, `origin` which score map it was; `cells` has a value a metric.
    """

    kind: str
    title: str
    settings: tuple[str, ...]
    origin: str
    n: int
    cells: Mapping[str, Cell | None]
    best: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Return title and settings in one."""
        return label_of(self.title, self.settings)

    def text(self, metric: str) -> str:
        """Return a cell as shown."""
        cell = self.cells.get(metric)
        if cell is None:
            return "" if self.kind == "floor" else "-"
        return cell.text


def cell_of(values: Sequence[float | None]) -> Cell | None:
    """Return mean and spread of the values that are there."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return Cell(statistics.fmean(there), statistics.stdev(there) if len(there) > 1 else None, len(there))


def summarize(variants: Sequence[Variant], reference: Variant, score_map: str, per_map: bool) -> list[Row]:
    """Return all rows: each variant, on demand with one row a score map; then the floors."""
    ours = [_row("reference" if v is reference else "variant", v, score_map) for v in variants]
    if len({v.data for v in variants}) == 1:
        ours = _marked(ours)
    rows = []
    for variant, row in zip(variants, ours, strict=True):
        rows.append(row)
        if per_map:
            maps = dict.fromkeys(name for run in variant.runs for name in run.score_maps)
            rows += [_row("map", variant, name) for name in maps if len(maps) > 1]
    return [*rows, *_floors(variants, reference)]


def lower_is_better(metric: str) -> bool:
    """Tell errors from accuracies."""
    return "error" in metric


def _row(kind: str, variant: Variant, score_map: str) -> Row:
    cells = {metric: cell_of([run.number(metric, score_map) for run in variant.runs]) for metric in METRICS}
    used = [run.score_map for run in variant.runs] if score_map == "auto" else [score_map]
    # by how many seeds chose it; names alone where all agree
    origin = ", ".join(
        name if len(set(used)) == 1 else f"{name} ({used.count(name)})"
        for name in sorted(set(used), key=lambda name: (-used.count(name), name))
    )
    return Row(kind, variant.title, variant.settings, origin, len(variant.runs), cells)


def _marked(rows: Sequence[Row]) -> list[Row]:
    """Mark the best of each column, where there are several variants."""
    best: dict[str, float] = {}
    for metric in METRICS if len(rows) > 1 else ():
        means = [cell.mean for row in rows if (cell := row.cells[metric])]
        if len(means) > 1 and min(means) < max(means):
            best[metric] = min(means) if lower_is_better(metric) else max(means)
    return [
        Row(
            row.kind, row.title, row.settings, row.origin, row.n, row.cells,
            frozenset(m for m, value in best.items() if (cell := row.cells[m]) and cell.mean == value),
        )
        for row in rows
    ]  # fmt: skip


def _floors(variants: Sequence[Variant], reference: Variant) -> list[Row]:
    """Return the floors of each data set, from one variant: they are the same for all, whatever was trained."""
    by_data = {v.data: v for v in [*reversed(variants), reference]}
    rows = []
    for data, variant in reversed(by_data.items()):
        for name, text in FLOORS.items():
            cells = {m: cell_of([run.number(f"floor_{name}_{m}") for run in variant.runs]) for m in METRICS}
            if any(cells.values()):
                origin = "floor" if len(by_data) == 1 else f"floor, {data}"
                rows.append(Row("floor", text, (), origin, len(variant.runs), cells))
    return rows
