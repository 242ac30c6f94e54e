"""Put a comparison into words."""

from collections.abc import Sequence

from spg_lightning.comparison.compare import Comparison
from spg_lightning.comparison.published_results import Published
from spg_lightning.comparison.runs import Run
from spg_lightning.comparison.significance import MIN_SEEDS, Difference
from spg_lightning.comparison.summary import METRICS, Cell, mean_of
from spg_lightning.comparison.variants import Variant
from spg_lightning.reporting.tables import chosen_by, scored_on

MINUS = "\N{MINUS SIGN}"


def table_notes(comparison: Comparison) -> list[str]:
    """Explain the numbers of the table."""
    chosen = "Map and threshold" if comparison.score_map == "auto" else "Threshold"
    runs = [run for variant in comparison.variants for run in variant.runs]
    by = chosen_by(_num_boxed([run for run in runs if not run.provenance.get("pseudo_boxes")], "val"))
    note = (
        "Test split, percent. Errors: lower is better. MaxBoxAccV2 and PxAP: higher is better. "
        f"{chosen} chosen on val{by}. Oracle: threshold chosen on test itself, as papers do.{scored_on(_num_boxed(runs, 'test'))}"
    )
    if comparison.has_several_seeds:
        note += " Mean ± standard deviation over n seeds."
    notes = [note]
    if len({v.data for v in comparison.variants}) > 1:
        notes.append("The variants ran on different data sets. Their numbers cannot be compared across data sets.")
    if comparison.inconsistent:
        notes.append(f"Some runs of one variant have different settings: {'; '.join(comparison.inconsistent)}.")
    return notes


def _num_boxed(runs: Sequence[Run], split: str) -> set[float]:
    return {count for run in runs if (count := run.metric("num_boxed", split=split)) is not None}


def comparability_note(comparison: Comparison) -> str:
    """Explain how far our numbers can be compared with the published ones."""
    settings = "; ".join(sorted({_setting(variant) for variant in comparison.variants}))
    note = f"Published figures, and ours with the same settings. These runs: {settings}."
    if any(row.other for row in comparison.published):
        note += " Where data or network differ, compare the order of the methods, not the numbers."
    return note


def _setting(variant: Variant) -> str:
    run = variant.runs[0]
    num_test = (run.provenance.get("photos") or {}).get("test")
    count = "" if num_test is None else f" ({num_test} test images)"
    return f"{variant.data}{count}, {run.config.get('stem.name')}"


def matching_results(row: Published, comparison: Comparison) -> dict[str, Cell]:
    """Return our numbers in the metrics of a published row."""
    cells = {metric: mean_of(row.variant, metric, comparison.score_map) for metric in row.numbers}
    return {metric: cell for metric, cell in cells.items() if cell}


def published_columns(comparison: Comparison) -> list[str]:
    """Return the metrics of the published rows."""
    return [metric for metric in METRICS if any(metric in row.numbers for row in comparison.published)]


def significance_note(comparison: Comparison) -> str:
    """Explain how far the differences can be trusted."""
    counts = [len(d.values) for by_metric in comparison.differences.values() for d in by_metric.values()]
    label = comparison.reference.label
    if not counts:
        return "No variant has a seed in common with the reference: there is nothing to test."
    if max(counts) < 2:
        return f"Variant minus {label}, one common seed: no test. A difference may be noise of the seed."
    note = (
        f"Variant minus {label}, over the common seeds: mean ± standard error, and p of the two-sided paired t-test, "
        "corrected (Holm) for the number of variants in each column."
    )
    if min(counts) < 2:
        note += " With one common seed there is no test."
    if any(1 < count < MIN_SEEDS for count in counts):
        note += (
            f" With fewer than {MIN_SEEDS} seeds the test is weak: a large p does not show that there is no difference."
        )
    return note


def difference_rows(comparison: Comparison, metrics: list[str]) -> list[tuple[str, int, list[tuple[str, str] | None]]]:
    """Return label, number of seeds, and a cell per metric, for each variant that has differences."""
    return [
        (label, max(len(d.values) for d in found.values()), [difference_text(found[m]) if m in found else None for m in metrics])
        for label, found in comparison.differences.items()
    ]  # fmt: skip


def difference_text(found: Difference) -> tuple[str, str]:
    """Return a difference and its p-value as text."""
    mean = f"{found.mean:+.1f}".replace("-", MINUS)
    if mean[1:] == "0.0":
        mean = "0.0"
    if found.error is None:
        return mean, ""
    if found.p is None:
        return f"{mean} ± 0.0", "same for all seeds"
    return f"{mean} ± {found.error:.1f}", "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
