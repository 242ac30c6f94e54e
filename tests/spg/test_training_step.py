"""The standard step hands on what it is given."""

import torch

from spg_lightning.spg.training_step import standard_step


def test_the_loss_is_of_the_networks_output_and_the_labels():
    terms = standard_step(
        lambda images: images + 1, lambda out, labels: {"total": out * labels}, torch.tensor(2.0), torch.tensor(5)
    )
    assert terms == {"total": 15}
