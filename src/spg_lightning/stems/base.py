"""What every stem offers: a dense backbone cut in two, A1 and A2 (paper section 3.2, figure 2)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class StemFeatures(NamedTuple):
    """Feature maps of one batch, all at the same height and width.

    Attributes:
        a1: (B, C1, H, W), end of the shallow part; SPG-B1 reads it.
        a2: (B, C2, H, W), end of the deep part; SPG-A3 reads it.
        a2_penultimate: (B, C2', H, W), the input of A2's last block; SPG-B2 reads it in both public implementations.
    """

    a1: Float[Tensor, "B C1 H W"]
    a2: Float[Tensor, "B C2 H W"]
    a2_penultimate: Float[Tensor, "B C3 H W"]


class StemChannels(NamedTuple):
    """Channel counts of the three feature maps."""

    a1: int
    a2: int
    a2_penultimate: int


class Stem(nn.Module):
    """A backbone that returns two feature maps and knows how its input is normalised.

    Attributes:
        channels: channel counts of the features.
        mean, std: per RGB channel, on the [0, 1] scale. They belong to the weights, hence to the stem.
        a3: the backbone's own A3, where the layers behind A2 serve as one; None: the network adds two convolutions.
    """

    channels: StemChannels
    mean: Sequence[float]
    std: Sequence[float]

    @property
    def a3(self) -> nn.Module | None:
        """See the class."""
        return None

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return the features of images already normalised with `mean` and `std`."""
        raise NotImplementedError

    def a1_modules(self) -> list[nn.Module]:
        """Return the modules up to A1, the part `freeze` can hold still."""
        raise NotImplementedError

    def normalize(self, images: UInt8[Tensor, "B 3 Y X"]) -> Float[Tensor, "B 3 Y X"]:
        """Turn uint8 RGB images in [0, 255] into this stem's normalised input."""
        mean, std = (_per_channel(tuple(values), self.dtype, images.device) for values in (self.mean, self.std))
        return (images.to(self.dtype) - mean) / std

    @property
    def dtype(self):  # type: ignore[no-untyped-def]
        """Floating type of the weights."""
        return next(self.parameters()).dtype

    def freeze_a1(self) -> None:
        """Stop training up to A1. Batch normalisation there uses its stored statistics, also in training mode."""
        for part in self.a1_modules():
            part.requires_grad_(False)
            part.eval()
        self._a1_frozen = True

    def train(self, mode: bool = True) -> "Stem":
        """Set the training mode; a frozen A1 stays in evaluation mode."""
        super().train(mode)
        if getattr(self, "_a1_frozen", False):
            for part in self.a1_modules():
                part.eval()
        return self


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return values on the [0, 1] scale as a tensor for images in [0, 255]: once, since each copy makes the host wait."""
    with torch.inference_mode(False):  # also used in training
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1) * 255
