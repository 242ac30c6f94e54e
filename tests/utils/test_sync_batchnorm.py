"""Batch norm over all processes: a converted network is the same network. Its talk between GPUs is torch's."""

import copy

import pytest
import torch
from torch import nn

from spg_lightning import compose
from spg_lightning.callbacks.throughput import step_flops
from spg_lightning.config.build import build_module, build_network, build_trainer
from spg_lightning.utils.sync_batchnorm import SyncBatchNorm
from tests.conftest import TINY


@pytest.mark.parametrize("stem", ["efficientnet_lite0", "resnet50"])
def test_a_network_stays_what_it_is(stem, tmp_path):
    words = [f"stem={stem}", "stem.weights=none", f"output_dir={tmp_path}", "dataset=toybirds"]
    network = build_network(compose("train", words), num_classes=3).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    before, images = copy.deepcopy(network), torch.randn(2, 3, 64, 64)
    plugin = SyncBatchNorm()
    converted = plugin.apply(network)
    kinds = {type(layer) for layer in converted.modules()}
    assert any(issubclass(kind, nn.SyncBatchNorm) for kind in kinds)
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in kinds)
    assert list(converted.state_dict()) == list(before.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(converted(images).class_maps, before(images).class_maps, rtol=0, atol=0)
        for value in converted.parameters():
            value.mul_(0.5)  # it trains, ...
        for value in converted.buffers():
            value.data = value.data.clone()  # ... and moves
        back, told = plugin.revert(converted), converted(images).class_maps
        torch.testing.assert_close(back(images).class_maps, told, rtol=0, atol=0)
    assert [type(layer) for layer in back.modules()] == [type(layer) for layer in before.modules()]


def test_its_operations_are_counted_beside_other_processes(tmp_path):
    """Throughput counts them when the layers are converted; counted on no device, they must not talk."""
    cfg = compose("train", [*TINY, f"output_dir={tmp_path}", "dataset=toybirds"])
    module = build_module(cfg, build_network(cfg, num_classes=3)).train()
    flops = step_flops(module, 2, 64)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        SyncBatchNorm().apply(module)
        assert any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules())
        assert step_flops(module, 2, 64) == flops
    finally:
        torch.distributed.destroy_process_group()


def test_the_trainer_takes_it(tmp_path):
    words = [*TINY, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.sync_batchnorm=true"]
    trainer = build_trainer(compose("train", [*words, f"output_dir={tmp_path}", "logger=none"]), [])
    assert isinstance(trainer.strategy._layer_sync, SyncBatchNorm)
