"""Runs of three variants."""

import pytest

from spg_lightning.comparison.runs import collect
from spg_lightning.comparison.variants import group_runs
from tests.comparison.fabricate import config_of, write_run


@pytest.fixture
def study(tmp_path):
    """SPG with seeds 0, 1, 2; direct guidance with seeds 1, 2, 3; SPG-plain with seed 0 only."""
    root = tmp_path / "study"
    for seed, error in enumerate((30.0, 32.0, 37.0)):
        write_run(root / f"spg-{seed}", config_of(), seed, error, pxap=50.0)
    for seed, error in ((1, 35.0), (2, 41.0), (3, 39.0)):
        write_run(root / f"direct-{seed}", config_of("guidance=direct"), seed, error)
    write_run(root / "plain", config_of("method=spg_plain"), 0, 40.0, chosen="attention")
    variants, _ = group_runs(collect(root)[0])
    return variants
