"""The interface of every stem: a dense backbone cut in two, A1 and A2 (paper section 3.2, figure 2)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from spg_lightning.errors import UserError

PARTS = ("none", "a1", "backbone")


class StemFeatures(NamedTuple):
    """Feature maps of one batch, all of the same height and width.

    Attributes:
        a1: (B, C1, H, W), end of the shallow half; SPG-B1 reads it.
        a2: (B, C2, H, W), end of the deep half; SPG-A3 reads it.
        a2_penultimate: (B, C3, H, W), input of A2's last block; SPG-B2 reads it in both public implementations.
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
    """A backbone that returns features at two depths. Subclasses set the attributes and define `forward`.

    Attributes:
        channels: channel counts of the features.
        mean, std: normalisation of the input, per RGB channel on the [0, 1] scale. They belong to the pretrained weights.
        input_size: side in pixels of an image that the backbone accepts; `freeze` passes one through.
    """

    channels: StemChannels
    mean: Sequence[float]
    std: Sequence[float]
    input_size = 64

    @property
    def a3(self) -> nn.Module | None:
        """The backbone's own A3; None: the network adds two convolutions."""
        return None

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return next(self.parameters()).dtype

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return the features of images normalised with `mean` and `std`."""
        raise NotImplementedError

    def new_modules(self) -> Sequence[nn.Module]:
        """Return the layers added to the backbone; `freeze` leaves them trainable."""
        return ()

    def normalize(self, images: UInt8[Tensor, "B 3 Y X"]) -> Float[Tensor, "B 3 Y X"]:
        """Convert uint8 RGB images in [0, 255] to this stem's normalised input."""
        mean, std = (_per_channel(tuple(values), self.dtype, images.device) for values in (self.mean, self.std))
        return (images.to(self.dtype) - mean) / std

    def denormalize(self, images: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B 3 Y X"]:
        """Convert this stem's normalised input to RGB in [0, 1]."""
        mean, std = (_per_channel(tuple(values), images.dtype, images.device) for values in (self.mean, self.std))
        return (images * std + mean) / 255

    def freeze(self, part: str) -> None:
        """Freeze nothing ("none"), all layers up to and including A1 ("a1"), or the whole backbone ("backbone").

        Batch normalisation in frozen layers uses its stored statistics, also in training mode.

        Raises:
            UserError: an unknown part.
        """
        if part not in PARTS:
            raise UserError(f"module.freeze={part}: choose {', '.join(PARTS[:-1])} or {PARTS[-1]}")
        if part == "none":
            return
        added = {id(parameter) for module in self.new_modules() for parameter in module.parameters()}
        for parameter in self._a1_parameters() if part == "a1" else self.parameters():
            parameter.requires_grad_(id(parameter) in added)
        self.train(self.training)

    def _a1_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that A1's features depend on."""
        training, parameters = self.training, [p for p in self.parameters() if p.requires_grad]
        image = torch.zeros(1, 3, self.input_size, self.input_size, dtype=self.dtype, device=parameters[0].device)
        with torch.enable_grad():
            a1 = self.eval()(image).a1
        self.train(training)
        gradients = torch.autograd.grad(a1.sum(), parameters, allow_unused=True)
        return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]

    def train(self, mode: bool = True) -> "Stem":
        """Set the training mode; modules whose parameters are all frozen stay in evaluation mode."""
        super().train(mode)
        for module in self.modules() if mode else ():
            trainable = [parameter.requires_grad for parameter in module.parameters()]
            if trainable and not any(trainable):
                module.eval()
        return self


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return values on the [0, 1] scale as a tensor for images in [0, 255], cached: each copy makes the host wait."""
    with torch.inference_mode(False):  # training uses the cached tensor, too
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1) * 255
