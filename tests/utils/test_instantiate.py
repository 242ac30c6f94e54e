"""Config nodes become objects."""

import pytest

from spg_lightning import UserError
from spg_lightning.utils.instantiate import instantiate_node


@pytest.mark.parametrize("value", [float("nan"), 3, "word"])
def test_a_value_in_place_of_a_node(value):
    with pytest.raises(UserError, match=f"{value} is no part; give a node with _target_"):
        instantiate_node(value)
