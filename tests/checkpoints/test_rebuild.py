"""A checkpoint rebuilds its network."""

import torch

from spg_lightning import load_network


def test_a_checkpoint_rebuilds_its_network_from_plain_data(tiny_run):
    result, _ = tiny_run
    torch.load(result.checkpoint, weights_only=True)
    network, metadata = load_network(result.checkpoint)
    assert metadata.class_names[0] == "001.Class_0"
    assert metadata.localization["score_map"] == result.evaluation.score_map
    assert not network.training
    out = network(torch.zeros(1, 3, 64, 64))
    assert out.b1.shape == (1, 1, 8, 8)
