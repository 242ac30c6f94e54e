"""What tests of sweeps share."""

import json

import pytest
from omegaconf import OmegaConf

from spg_lightning.config import sweep_job as jobs


@pytest.fixture
def pretend(monkeypatch):
    """Put a function of a job's config in the place of its process; return the configs that were run."""
    ran, asked = [], []
    is_complete = jobs.is_complete

    def look(folder, cfg):
        asked.append(cfg)
        return is_complete(folder, cfg)

    monkeypatch.setattr(jobs, "is_complete", look)

    def install(function):
        def run(sweep, overrides, folder, error_file, log, variables):
            cfg = asked[-1]
            ran.append(cfg)
            value = function(cfg)
            OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
            (folder / "metrics.json").write_text(json.dumps({"val/gt_known_error": value}))
            (folder / "provenance.json").write_text("{}")

        monkeypatch.setattr(jobs, "_run", run)
        return ran

    return install
