"""VGG16 cut as the CVPR 2020 benchmark cuts it for SPG: A1 is its fourth block, A2 its fifth."""

from collections.abc import Sequence

import torchvision
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import VGG16_Weights

from spg_lightning.errors import UserError
from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.weights import load_backbone

A1_START, A1_END, A2_START, A2_LAST, A2_END = 17, 23, 24, 28, 30  # layers of torchvision's `features`


class VGG16Stem(Stem):
    """VGG16 without its last two poolings: 28 x 28 maps of 512 channels.

    Args:
        map_size: height and width of the features of a 224 x 224 image: 28, or 14 (one more max-pool behind A1).
        weights: see `weights.load_backbone`.
        mean, std: normalisation of the input; ImageNet's for torchvision's weights.

    Raises:
        UserError: an unsupported `map_size`, or weights that cannot be had.
    """

    def __init__(self, map_size: int, weights: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if map_size not in (14, 28):
            raise UserError(f"stem.map_size={map_size}: vgg16 offers 28 or 14")
        self.map_size, self.mean, self.std = map_size, mean, std
        self.channels = StemChannels(a1=512, a2=512, a2_penultimate=512)
        self.features = torchvision.models.vgg16(weights=None).features[:A2_END]
        load_backbone(self, weights, VGG16_Weights, VGG16_Weights.IMAGENET1K_V1)

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return the features of the fourth and fifth block, and of the fifth before its last convolution."""
        a1 = self.features[:A1_END](images)
        if self.map_size == 14:
            a1 = F.max_pool2d(a1, kernel_size=3, stride=2, padding=1)
        previous = self.features[A2_START:A2_LAST](a1)
        return StemFeatures(a1=a1, a2=self.features[A2_LAST:A2_END](previous), a2_penultimate=previous)
