"""Inception-v3 up to Mixed_6e, kept dense (paper section 3.2), from torchvision's blocks."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import Inception_V3_Weights
from torchvision.models.inception import BasicConv2d, InceptionA, InceptionB, InceptionC

from spg_lightning.errors import UserError
from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.weights import load_backbone


def conv1x1_then_pool(layer: BasicConv2d, x: Tensor) -> Tensor:
    """Return torchvision's `layer(F.avg_pool2d(x, 3, 1, 1))`, the 1 x 1 convolution first: both are linear, in either order.

    Of a quarter of the channels, or fewer: on an H200 the means of all of them took a quarter of the kernels' time.
    """
    return F.relu(layer.bn(F.avg_pool2d(layer.conv(x), kernel_size=3, stride=1, padding=1)), inplace=True)


class LatePoolingA(InceptionA):  # type: ignore[misc]
    """Mixed_5b to 5d, averaged after the 1 x 1 convolution; same weights, same names."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            branch3x3dbl,
            conv1x1_then_pool(self.branch_pool, x),
        ]


class LatePoolingC(InceptionC):  # type: ignore[misc]
    """Mixed_6b to 6e, averaged after the 1 x 1 convolution; same weights, same names."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch7x7dbl = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branch7x7dbl = self.branch7x7dbl_5(self.branch7x7dbl_4(branch7x7dbl))
        return [self.branch1x1(x), branch7x7, branch7x7dbl, conv1x1_then_pool(self.branch_pool, x)]


class DenseInceptionB(InceptionB):  # type: ignore[misc]
    """Mixed_6a with stride 1 and padding, so that the map keeps its size; same weights, same names."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        for strided in (self.branch3x3.conv, self.branch3x3dbl_3.conv):
            strided.stride, strided.padding = (1, 1), (1, 1)

    def _forward(self, x: Tensor) -> list[Tensor]:
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return [self.branch3x3(x), branch3x3dbl, F.max_pool2d(x, kernel_size=3, stride=1, padding=1)]


class InceptionV3Stem(Stem):
    """Dense Inception-v3: A1 ends at Mixed_5d (288 channels), A2 at Mixed_6e (768).

    Args:
        map_size: height and width of the features of a 224 x 224 image: 28 (the paper) or 14 (the benchmark's
            small maps: one more max-pool after Mixed_5d).
        weights: see `weights.load_backbone`.
        mean, std: normalisation of the input. torchvision's weights come from TensorFlow and want 0.5; checkpoints of
            the authors and of the benchmark want ImageNet's mean and standard deviation.

    Raises:
        UserError: an unsupported `map_size`, or weights that cannot be had.
    """

    def __init__(
        self,
        map_size: int,
        weights: str,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        if map_size not in (14, 28):
            raise UserError(f"stem.map_size={map_size}: inception_v3 offers 28 or 14")
        self.map_size = map_size
        self.mean, self.std = mean, std
        self.channels = StemChannels(a1=288, a2=768, a2_penultimate=768)
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2, padding=1)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.Mixed_5b = LatePoolingA(192, pool_features=32)
        self.Mixed_5c = LatePoolingA(256, pool_features=64)
        self.Mixed_5d = LatePoolingA(288, pool_features=64)
        self.Mixed_6a = DenseInceptionB(288)
        self.Mixed_6b = LatePoolingC(768, channels_7x7=128)
        self.Mixed_6c = LatePoolingC(768, channels_7x7=160)
        self.Mixed_6d = LatePoolingC(768, channels_7x7=160)
        self.Mixed_6e = LatePoolingC(768, channels_7x7=192)
        self._initialize()
        load_backbone(self, weights, Inception_V3_Weights, Inception_V3_Weights.IMAGENET1K_V1)

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return A1's, A2's and Mixed_6d's features."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1, ceil_mode=True)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1, ceil_mode=True)
        a1 = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        if self.map_size == 14:
            a1 = F.max_pool2d(a1, kernel_size=3, stride=2, ceil_mode=True)
        previous = self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(a1))))
        return StemFeatures(a1=a1, a2=self.Mixed_6e(previous), a2_penultimate=previous)

    def _initialize(self) -> None:
        # torchvision's own initialisation of this network, needed only where it is trained from scratch
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.trunc_normal_(layer.weight, mean=0.0, std=0.1, a=-0.2, b=0.2)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.weight.fill_(1)
                    layer.bias.zero_()
