"""ResNet-50 cut as the CVPR 2020 benchmark cuts it for SPG: A1 ends in the third stage's first block, A2 in its last."""

from collections.abc import Sequence

import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from spg_lightning.errors import UserError
from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.weights import load_backbone


class ResNet50Stem(Stem):
    """ResNet-50 without its last strides. Its fourth stage is A3, so that all of it is pretrained.

    Args:
        map_size: height and width of the features of a 224 x 224 image: 28 (third and fourth stage with stride 1), or 14.
        weights: see `weights.load_backbone`.
        mean, std: normalisation of the input; ImageNet's for torchvision's weights.

    Raises:
        UserError: an unsupported `map_size`, or weights that cannot be had.
    """

    def __init__(self, map_size: int, weights: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if map_size not in (14, 28):
            raise UserError(f"stem.map_size={map_size}: resnet50 offers 28 or 14")
        self.mean, self.std = mean, std
        self.channels = StemChannels(a1=1024, a2=1024, a2_penultimate=1024)
        backbone = torchvision.models.resnet50(weights=None)
        self.conv1, self.bn1 = backbone.conv1, backbone.bn1
        self.relu, self.maxpool = backbone.relu, backbone.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = (getattr(backbone, f"layer{k}") for k in (1, 2, 3, 4))
        for stage in (self.layer4, self.layer3) if map_size == 28 else (self.layer4,):
            stage[0].conv2.stride = stage[0].downsample[0].stride = (1, 1)
        load_backbone(self, weights, ResNet50_Weights, ResNet50_Weights.IMAGENET1K_V1)

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return the features of the third stage: after its first block, after its last, and before that."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        a1 = self.layer3[0](self.layer2(self.layer1(x)))
        previous = self.layer3[1:-1](a1)
        return StemFeatures(a1=a1, a2=self.layer3[-1](previous), a2_penultimate=previous)

    @property
    def a3(self) -> nn.Module:
        """The fourth stage, 2048 channels."""
        return self.layer4
