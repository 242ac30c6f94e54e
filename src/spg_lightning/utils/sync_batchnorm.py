"""SyncBatchNorm that also supports the networks of timm."""

from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(TorchSyncBatchNorm):
    """Replaces Lightning's plugin, whose conversion loses the activation inside timm's batch norm layers."""

    def __init__(self) -> None:
        self._originals: dict[str, nn.Module] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the batch norm layers; parameters and statistics stay the same tensors."""
        self._originals = {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}
        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Restore the original layers, with the current statistics."""
        for name, layer in self._originals.items():
            synced = model.get_submodule(name)
            layer._parameters, layer._buffers = synced._parameters, synced._buffers
            layer.train(synced.training)
            model.set_submodule(name, layer)
        self._originals = {}
        return model
