"""Summarize variants as table rows: mean and spread over the seeds, naive baselines below."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spg_lightning.comparison.variants import Variant, label_of
from spg_lightning.reporting.tables import FLOORS

METRICS = {
    "gt_known_error": "GT-known error",
    "gt_known_error_oracle": "oracle",
    "loc_top1_error": "top-1 loc",
    "loc_top5_error": "top-5 loc",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
    "mask_iou": "mask IoU",
    "cls_top1_error": "cls top-1",
    "cls_top5_error": "cls top-5",
}


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation over n seeds. One seed has no standard deviation."""

    mean: float
    sd: float | None
    n: int

    @property
    def text(self) -> str:
        """The mean, with the standard deviation if there is one."""
        return f"{self.mean:.1f}" if self.sd is None else f"{self.mean:.1f} ± {self.sd:.1f}"


@dataclass(frozen=True)
class Row:
    """A table row.

    Attributes:
        kind: "variant", "reference", "map" (one score map of a variant) or "floor" (a naive baseline).
        title: of the method or baseline.
        settings: as in `Variant`.
        origin: the score map that was measured.
        n: number of seeds.
        cells: metric -> value.
        best: metrics in which no variant is better.
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
        """Title and settings."""
        return label_of(self.title, self.settings)

    def text(self, metric: str) -> str:
        """Return a cell as text."""
        cell = self.cells.get(metric)
        if cell is None:
            return "" if self.kind == "floor" else "-"
        return cell.text


def summarize(variants: Sequence[Variant], reference: Variant, score_map: str, per_map: bool) -> list[Row]:
    """Return a row per variant, with `per_map` also one per score map, and the naive baselines last."""
    own = [_row("reference" if v is reference else "variant", v, score_map) for v in variants]
    if len({v.data for v in variants}) == 1:
        own = _mark_best(own)
    rows = []
    for variant, row in zip(variants, own, strict=True):
        rows.append(row)
        maps = dict.fromkeys(name for run in variant.runs for name in run.score_maps)
        if per_map and len(maps) > 1:
            rows += [_row("map", variant, name) for name in maps]
    return [*rows, *_floor_rows(variants, reference)]


def mean_of(variant: Variant, metric: str, score_map: str, split: str = "test") -> Cell | None:
    """Return mean and spread of a metric over the seeds that have it, or None."""
    return cell_of([run.metric(metric, score_map, split) for run in variant.runs])


def cell_of(values: Sequence[float | None]) -> Cell | None:
    """Return mean and spread of the values that are not None, or None."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    return Cell(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))


def lower_is_better(metric: str) -> bool:
    """Return whether a metric is an error, and not an accuracy."""
    return "error" in metric


def _row(kind: str, variant: Variant, score_map: str) -> Row:
    used = [run.score_map for run in variant.runs] if score_map == "auto" else [score_map]
    counts = {name: used.count(name) for name in sorted(used, key=lambda name: (-used.count(name), name))}
    origin = ", ".join(name if len(counts) == 1 else f"{name} ({count})" for name, count in counts.items())
    cells = {metric: mean_of(variant, metric, score_map) for metric in METRICS}
    return Row(kind, variant.title, variant.settings, origin, len(variant.runs), cells)


def _mark_best(rows: Sequence[Row]) -> list[Row]:
    best: dict[str, float] = {}
    for metric in METRICS:
        means = [cell.mean for row in rows if (cell := row.cells[metric])]
        if len(set(means)) > 1:
            best[metric] = min(means) if lower_is_better(metric) else max(means)
    return [
        replace(row, best=frozenset(m for m, value in best.items() if (cell := row.cells[m]) and cell.mean == value))
        for row in rows
    ]


def _floor_rows(variants: Sequence[Variant], reference: Variant) -> list[Row]:
    """Return the naive baselines of each data set. They are the same for all its variants; the reference comes first."""
    by_data = {v.data: v for v in [*reversed(variants), reference]}
    rows = []
    for data, variant in reversed(by_data.items()):
        for name, title in FLOORS.items():
            cells = {metric: mean_of(variant, f"floor_{name}_{metric}", "auto") for metric in METRICS}
            if any(cells.values()):
                origin = "floor" if len(by_data) == 1 else f"floor, {data}"
                rows.append(Row("floor", title, (), origin, len(variant.runs), cells))
    return rows
