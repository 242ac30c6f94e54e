"""A run with a non-finite loss or weight stops with one line."""

import re

import pytest
import torch

from spg_lightning import UserError
from tests.callbacks.helpers import run


def test_a_non_finite_loss_names_step_terms_and_images(cub, tmp_path):
    with pytest.raises(UserError) as stop:
        run(cub, tmp_path, "schedule=constant", "dataset.lr=1e15", "checkpoint_every_steps=1")
    message = str(stop.value)
    assert "\n" not in message
    assert re.match(r"the loss of step \d is (nan|inf) \(terms: .*cls (nan|inf).*\) on 00\d.Class_\d/Photo_", message)
    good = (
        torch.load(tmp_path / "checkpoints/resume.ckpt", weights_only=True) if "good checkpoint is" in message else None
    )
    for value in good["state_dict"].values() if good else ():
        assert value.isfinite().all()


def test_non_finite_weights_are_found_before_a_validation(cub, tmp_path):
    """Otherwise the error would blame the score map of an image."""
    spoils = "+callbacks.spoils._target_=tests.callbacks.helpers.Spoils"
    with pytest.raises(UserError, match=r"^network.a4.weight is no longer finite at step 3; .*lower dataset.lr"):
        run(cub, tmp_path, spoils)
