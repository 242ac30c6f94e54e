"""A run that died goes on as if it had not."""

import pytest

from tests.resuming.helpers import Died, assert_same, dies, run
from tests.trees import write_cub


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("resuming") / "cub", per_class=12)


@pytest.fixture(scope="module")
def whole(cub):
    """A run that did not die: three epochs of three steps."""
    run(cub, cub.parent / "whole")
    return cub.parent / "whole"


@pytest.mark.parametrize("step", range(1, 10))
def test_wherever_it_died(cub, whole, tmp_path, step):
    with pytest.raises(Died):
        run(cub, tmp_path, *dies(step), "checkpoint_every_steps=1")
    run(cub, tmp_path, "resume=auto")
    assert_same(tmp_path, whole)
