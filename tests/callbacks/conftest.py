"""A data set, and the run that all others are compared with."""

import pytest

from tests.callbacks.helpers import run
from tests.trees import write_cub


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("resuming") / "cub", per_class=12)


@pytest.fixture(scope="module")
def whole(cub):
    """A run that did not die: three epochs of three steps."""
    run(cub, cub.parent / "whole")
    return cub.parent / "whole"
