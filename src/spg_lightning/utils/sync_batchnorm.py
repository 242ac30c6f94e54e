"""Batch norm over the photos of all processes (SyncBatchNorm), for timm's networks, too."""

from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(TorchSyncBatchNorm):
    """Takes the place of Lightning's plugin, whose conversion loses the activation inside timm's batch norm layers."""

    def __init__(self) -> None:
        self._before: dict[str, nn.Module] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the layers; parameters and statistics stay the same tensors."""
        self._before = {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}
        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the layers of before back, with the statistics of now."""
        for name, layer in self._before.items():
            now = model.get_submodule(name)
            layer._parameters, layer._buffers = now._parameters, now._buffers
            layer.train(now.training)
            model.set_submodule(name, layer)
        self._before = {}
        return model
