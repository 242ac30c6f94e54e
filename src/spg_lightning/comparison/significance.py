"""Is a difference more than the seeds' noise? Paired over the seeds that both variants were run with."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import ttest_rel

from spg_lightning.comparison.variants import Variant

FEW = 5  # seeds; below, Student's t hangs on the assumption of normal differences


@dataclass(frozen=True)
class Difference:
    """A variant's number minus the reference's.

    Attributes:
        values: one a common seed.
        mean: of them. error: standard error of the mean, from two seeds on.
        p: of the two-sided paired t-test, where there is one.
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
    if error < 1e-9:  # all differences are equal but for rounding: t is no number
        return Difference(values, mean, 0.0, None)
    return Difference(values, mean, error, float(ttest_rel(ours, reference).pvalue))


def difference(variant: Variant, reference: Variant, metric: str, score_map: str) -> Difference | None:
    """Compare two variants in one metric over their common seeds; None where there are none, or the data differs."""
    theirs = reference.by_seed() if variant.data == reference.data else {}
    pairs = [
        (ours, other)
        for seed, run in variant.by_seed().items()
        if seed in theirs
        and (ours := run.number(metric, score_map)) is not None
        and (other := theirs[seed].number(metric, score_map)) is not None
    ]
    return paired(*zip(*pairs, strict=True)) if pairs else None


def unpaired(variants: Sequence[Variant], reference: Variant) -> list[str]:
    """Name the runs whose seed the reference was not run with, and the reference's that nobody else has."""
    others = [variant for variant in variants if variant is not reference]
    seeds = {seed for variant in others for seed in variant.by_seed()}
    runs = [run for v in others for run in v.runs if run.seed not in reference.by_seed()]
    if others:
        runs += [run for run in reference.runs if run.seed not in seeds]
    return [run.name for run in runs]
