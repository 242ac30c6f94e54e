"""What tests share."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SPG_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs files that do not travel with the project."""
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"reference files not found at {SHARED}; set SPG_SHARED to their folder")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)
