"""The space that a search draws from, in Hydra's grammar of sweeps: `choice`, `range`, `interval`, `int` and `tag(log, ...)`."""

import math
from collections.abc import Iterable

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from spg_lightning.errors import UserError


def split_overrides(overrides: Iterable[Override]) -> tuple[list[str], dict[str, BaseDistribution]]:
    """Return the overrides that all trials share, and where to search the others, by key. The last override of a key counts.

    Raises:
        UserError: Optuna has no such space, or there is nothing to search.
    """
    last = {override.get_key_element().lstrip("+~"): override for override in overrides}
    swept = [override for override in last.values() if override.is_sweep_override()]
    if not swept:
        raise UserError("nothing to search: give keys a space, such as 'thresholds.b2.high=interval(0.4,0.9)'")
    fixed = [override for override in last.values() if not override.is_sweep_override()]
    words = [f"{override.get_key_element()}={override.get_value_element_as_str()}" for override in fixed]
    return words, {override.get_key_element(): _distribution(override) for override in swept}


def _distribution(override: Override) -> BaseDistribution:
    sweep = override.value()
    tags = set(getattr(sweep, "tags", ()))
    log = "log" in tags
    if tags - ({"log"} if isinstance(sweep, RangeSweep | IntervalSweep) else set()):
        raise UserError(f"{override.input_line}: the only tag is log, of an interval or a range")
    try:
        if isinstance(sweep, RangeSweep):
            assert sweep.start is not None
            assert sweep.stop is not None
            count = len(list(override.sweep_iterator()))
            last = sweep.start + (count - 1) * sweep.step  # Hydra's ranges end before their stop
            if isinstance(last, int) and isinstance(sweep.start, int):
                return IntDistribution(sweep.start, last, log=log, step=int(sweep.step))
            return FloatDistribution(sweep.start, last, step=float(sweep.step), log=log)
        if isinstance(sweep, IntervalSweep):
            assert sweep.start is not None
            assert sweep.end is not None
            if not math.isfinite(sweep.start) or not math.isfinite(sweep.end):
                raise ValueError("an interval has finite bounds")
            if isinstance(sweep.start, int) and isinstance(sweep.end, int):
                return IntDistribution(sweep.start, sweep.end, log=log)
            return FloatDistribution(sweep.start, sweep.end, log=log)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise UserError(f"{override.input_line}: {error}") from error
