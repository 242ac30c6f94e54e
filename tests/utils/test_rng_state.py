"""Random number generators restore their state."""

import random

import numpy as np
import torch

from spg_lightning.utils.rng_state import get_rng_state, set_rng_state


def test_the_generators_continue():
    state = get_rng_state(torch.device("cpu"))
    first = random.random(), np.random.rand(), torch.rand(3).tolist()  # noqa: NPY002
    set_rng_state(state, torch.device("cpu"))
    assert (random.random(), np.random.rand(), torch.rand(3).tolist()) == first  # noqa: NPY002


def test_the_states_are_plain_data(tmp_path):
    torch.save(get_rng_state(torch.device("cpu")), tmp_path / "states")
    set_rng_state(torch.load(tmp_path / "states", weights_only=True), torch.device("cpu"))
