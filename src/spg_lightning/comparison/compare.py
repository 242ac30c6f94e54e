"""Compare the variants of finished runs with a reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spg_lightning.comparison.published_results import Published, find_published
from spg_lightning.comparison.runs import Run, collect
from spg_lightning.comparison.significance import Difference, difference, holm, unpaired
from spg_lightning.comparison.summary import METRICS, Row, lower_is_better, mean_of, summarize
from spg_lightning.comparison.variants import Variant, group_runs, inconsistent_settings, reference_of
from spg_lightning.errors import UserError, nearest

MAX_SHOWN = 8  # variants in plots and galleries: one colour each


@dataclass(frozen=True)
class Comparison:
    """Variants beside a reference.

    Attributes:
        title: the name of the folder of the runs.
        variants: runs that differ in the seed alone.
        reference: the variant that the others are compared with.
        metric: of the heat map and of the plot of differences.
        score_map: the map that is measured; "auto": the one each run chose on val.
        rows: of the table.
        differences: label -> metric -> difference from the reference, paired over the seeds, p corrected for the number of
            variants.
        published: published figures of the same variants.
        unpaired: names of the runs without a partner of the same seed.
        inconsistent: a line for each run whose config differs from that of its variant.
        left_out: a line for each run that was left out.
    """

    title: str
    variants: list[Variant]
    reference: Variant
    metric: str
    score_map: str
    rows: list[Row]
    differences: dict[str, dict[str, Difference]]
    published: list[Published]
    unpaired: list[str]
    inconsistent: list[str]
    left_out: list[str]

    @property
    def has_several_seeds(self) -> bool:
        """Whether any variant has a spread."""
        return any(len(v.runs) > 1 for v in self.variants)

    @property
    def metrics(self) -> list[str]:
        """The metrics of the table that any row has a number for."""
        return [metric for metric in METRICS if any(row.cells.get(metric) for row in self.rows)]

    @property
    def top_variants(self) -> list[Variant]:
        """The reference, and the others that are best on val: at most `MAX_SHOWN`."""
        sign = 1 if lower_is_better(self.metric) else -1
        others = [v for v in self.variants if v is not self.reference]
        cells = {v.label: mean_of(v, self.metric, self.score_map, "val") for v in others}
        best = sorted(others, key=lambda v: sign * cell.mean if (cell := cells[v.label]) else float("inf"))[
            : MAX_SHOWN - 1
        ]
        return [self.reference, *(v for v in others if v in best)]


def compare(root: Path, reference: str | None, metric: str, score_map: str, per_map: bool) -> Comparison:
    """Compare the finished runs below a folder.

    Args:
        root: the folder.
        reference: a variant's name; None: SPG without overrides, or else the first variant.
        metric: of the heat map and of the plot of differences.
        score_map: measure this map in all runs; "auto": the one each run chose on val.
        per_map: add a table row per score map.

    Raises:
        UserError: no finished run, or no such reference, metric or score map.
    """
    runs, left_out = collect(root)
    variants, repeated = group_runs(runs)
    chosen = reference_of(variants, reference)
    _check_measured(runs, metric, score_map)
    return Comparison(
        title=root.resolve().name,
        variants=variants,
        reference=chosen,
        metric=metric,
        score_map=score_map,
        rows=summarize(variants, chosen, score_map, per_map),
        differences=_differences(variants, chosen, metric, score_map),
        published=find_published(variants),
        unpaired=unpaired(variants, chosen),
        inconsistent=inconsistent_settings(variants),
        left_out=[*left_out, *repeated],
    )


def _differences(
    variants: Sequence[Variant], reference: Variant, metric: str, score_map: str
) -> dict[str, dict[str, Difference]]:
    found: dict[str, dict[str, Difference]] = {}
    others = [variant for variant in variants if variant is not reference]
    for name in dict.fromkeys([*METRICS, metric]):
        pairs = {variant.label: difference(variant, reference, name, score_map) for variant in others}
        for label, pair in holm({label: pair for label, pair in pairs.items() if pair is not None}).items():
            found.setdefault(label, {})[name] = pair
    return {variant.label: found[variant.label] for variant in others if variant.label in found}


def _check_measured(runs: Sequence[Run], metric: str, score_map: str) -> None:
    maps = dict.fromkeys(name for run in runs for name in run.score_maps)
    if score_map != "auto" and score_map not in maps:
        raise UserError(f"score_map={score_map}: no run measured it; choose from {', '.join(maps) or 'auto'}")
    metrics = dict.fromkeys(key.rsplit("/", 1)[-1] for run in runs for key in run.metrics if key.startswith("test/"))
    if metric not in metrics:
        raise UserError(f"metric={metric[:60]}: no run has it.{nearest(metric, metrics)}")
    if all(run.metric(metric, score_map) is None for run in runs):
        raise UserError(f"metric={metric}: no run has it for score_map={score_map}; naive baselines have no score map")
