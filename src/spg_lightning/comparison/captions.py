"""What is told of a comparison, in words."""

from dataclasses import dataclass

from spg_lightning.comparison.published import Published
from spg_lightning.comparison.significance import FEW, Difference
from spg_lightning.comparison.summary import METRICS, Cell, Row, cell_of
from spg_lightning.comparison.variants import Variant

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Comparison:
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


def table_notes(compared: Comparison) -> list[str]:
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


def comparability_note(compared: Comparison) -> str:
    """Say what the published figures can be compared with."""
    where = "; ".join(sorted({_setting(variant) for variant in compared.variants}))
    text = f"Printed figures, and ours with the same switches. These runs: {where}."
    if any(row.other for row in compared.published):
        text += " Where the data or the network is another, compare the order of the methods, not the numbers."
    return text


def matching_results(row: Published, compared: Comparison) -> dict[str, Cell]:
    """Return our numbers in the metrics that a printed row has."""
    cells = {m: cell_of([run.number(m, compared.score_map) for run in row.variant.runs]) for m in row.numbers}
    return {metric: cell for metric, cell in cells.items() if cell}


def published_columns(compared: Comparison) -> list[str]:
    """Return the metrics that any printed row has."""
    return [m for m in METRICS if any(m in row.numbers for row in compared.published)]


def significance_note(compared: Comparison) -> str:
    """Say how far the differences can be trusted."""
    counts = [len(d.values) for of_variant in compared.differences.values() for d in of_variant.values()]
    if not counts:
        return "No variant has a seed in common with the reference: there is nothing to test."
    if max(counts) < 2:
        return (
            f"Variant minus {compared.reference.label}, one common seed: no test, and no telling a difference from the "
            "seed's noise."
        )
    text = (
        f"Variant minus {compared.reference.label}, over the seeds that both were run with: mean ± standard error; "
        "p of the two-sided paired t-test, not corrected for the number of comparisons."
    )
    if min(counts) < 2:
        text += " Where one seed is in common there is no test."
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


def columns_of(compared: Comparison) -> list[str]:
    """Return the metrics that any row has a number of."""
    return [m for m in METRICS if any(row.cells.get(m) for row in compared.rows)]


def _setting(variant: Variant) -> str:
    run = variant.runs[0]
    photos = run.facts.get("photos")
    count = f" ({photos['test']} test photos)" if isinstance(photos, dict) and "test" in photos else ""
    return f"{variant.data}{count}, {run.config.get('stem.name')}"
