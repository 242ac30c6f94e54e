"""Fixtures of the tests of loggers."""

import pytest
import wandb


@pytest.fixture(scope="module")
def away(tmp_path_factory):
    """No key, no login, and wandb's own files in a temporary folder."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
            patch.delenv(name, raising=False)
        for name, folder in (("HOME", ""), ("WANDB_DATA_DIR", "data"), ("WANDB_CACHE_DIR", "cache")):
            patch.setenv(name, str(home / folder))
        patch.setenv("WANDB_SILENT", "true")
        yield patch
        wandb.teardown()
