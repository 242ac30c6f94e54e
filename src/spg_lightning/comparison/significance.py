"""Test whether variants differ by more than the noise of the seeds, paired over the seeds that both ran with."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.stats import ttest_rel

from spg_lightning.comparison.variants import Variant

MIN_SEEDS = 5  # with fewer, the t-test depends on the assumption of normal differences


@dataclass(frozen=True)
class Difference:
    """A metric of a variant minus the reference's.

    Attributes:
        values: one per common seed.
        mean: of the values.
        error: standard error of the mean, with two seeds or more.
        p: of the two-sided paired t-test, where it is defined; `holm` corrects it.
    """

    values: tuple[float, ...]
    mean: float
    error: float | None
    p: float | None


def paired(ours: Sequence[float], reference: Sequence[float]) -> Difference:
    """Compare numbers of the same seeds, in the same order.

    With d_i = ours_i - reference_i: mean d, SE = sd(d) / sqrt(n) with n - 1 degrees of freedom, t = mean / SE.
    """
    values = tuple(a - b for a, b in zip(ours, reference, strict=True))
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Difference(values, mean, None, None)
    error = statistics.stdev(values) / len(values) ** 0.5
    if error < 1e-9:  # equal but for rounding: t is undefined
        return Difference(values, mean, 0.0, None)
    return Difference(values, mean, error, float(ttest_rel(ours, reference).pvalue))


def difference(variant: Variant, reference: Variant, metric: str, score_map: str) -> Difference | None:
    """Compare one metric of two variants over their common seeds. None without common seeds, or with different data."""
    if variant.data != reference.data:
        return None
    others = reference.by_seed()
    common = [(run, others[run.seed]) for run in variant.runs if run.seed in others]
    pairs = [(run.metric(metric, score_map), other.metric(metric, score_map)) for run, other in common]
    pairs = [pair for pair in pairs if None not in pair]
    return paired(*zip(*pairs, strict=True)) if pairs else None


def holm(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    """Correct the p-values of several comparisons by one metric for their number (Holm, 1979).

    The i-th smallest of m p-values becomes the largest of min(1, (m - j + 1) p_j) over j <= i. The chance of any false
    rejection among them is then at most the level of the test.
    """
    tested = sorted(
        ((label, found.p) for label, found in differences.items() if found.p is not None), key=lambda pair: pair[1]
    )
    corrected = dict(differences)
    smallest = 0.0
    for index, (label, p) in enumerate(tested):
        smallest = max(smallest, min(1.0, (len(tested) - index) * p))
        corrected[label] = replace(differences[label], p=smallest)
    return corrected


def unpaired(variants: Sequence[Variant], reference: Variant) -> list[str]:
    """Return the names of the runs without a partner of the same seed: the variants' and the reference's own."""
    others = [variant for variant in variants if variant is not reference]
    seeds = {seed for variant in others for seed in variant.by_seed()}
    runs = [run for variant in others for run in variant.runs if run.seed not in reference.by_seed()]
    return [run.name for run in [*runs, *(run for run in reference.runs if others and run.seed not in seeds)]]
