"""A backbone of one's own: six convolutions at stride 8, trained from scratch."""

from collections.abc import Sequence

from torch import Tensor, nn

from spg_lightning.stems import Stem, StemChannels, StemFeatures


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class SmallStem(Stem):
    """A1: four convolutions. A2: two more, the last of which B2 does not see."""

    def __init__(self, width: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.channels = StemChannels(a1=2 * width, a2=2 * width, a2_penultimate=2 * width)
        self.a1 = nn.Sequential(
            _conv(3, width, stride=2),
            _conv(width, width, stride=2),
            _conv(width, 2 * width, stride=2),
            _conv(2 * width, 2 * width),
        )
        self.a2_first, self.a2_last = _conv(2 * width, 2 * width), _conv(2 * width, 2 * width)

    def forward(self, images: Tensor) -> StemFeatures:
        """Return the features of normalised images (B, 3, Y, X)."""
        a1 = self.a1(images)
        penultimate = self.a2_first(a1)
        return StemFeatures(a1=a1, a2=self.a2_last(penultimate), a2_penultimate=penultimate)
