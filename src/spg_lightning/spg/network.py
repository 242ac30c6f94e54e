"""The SPG network (paper section 3.2, figure 2): a stem and the parts A3, A4, B1, B2 and C."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from spg_lightning.errors import UserError
from spg_lightning.stems.base import Stem

BRANCHES = ("b1", "b2", "c")


class SPGOutput(NamedTuple):
    """The output of the network for a batch. Branches that were not requested, or that the method lacks, are None.

    Attributes:
        logits: (B, K) class scores before the softmax.
        class_maps: (B, K, H, W) maps of A4, unbounded; their means are the logits.
        b1, b2, c: (B, 1, H, W) foreground logits, before the sigmoid.
        image_size: height and width of the input; guidance and losses work there.
    """

    logits: Float[Tensor, "B K"]
    class_maps: Float[Tensor, "B K H W"]
    b1: Float[Tensor, "B 1 H W"] | None
    b2: Float[Tensor, "B 1 H W"] | None
    c: Float[Tensor, "B 1 H W"] | None
    image_size: tuple[int, int]


class SPGNetwork(nn.Module):
    """Stem -> A3 -> A4 -> class maps; B1, B2 and C learn foreground from the network's own attention.

    Args:
        stem: gives the features of A1 and A2.
        num_classes: number of classes K.
        a3_channels: width of A3's two convolutions (paper: 1024), or of the stem's own A3.
        b_channels: width of the convolutions of B1 and B2 (paper: 512).
        c_channels: of C's first convolution (paper: 512).
        dropout: probability before each convolution of A3 and before A4 (paper: 0.5).
        branches: which of b1, b2, c exist. All for SPG, none for SPG-plain, without c where "fuse" is off.
        shared_weights: B1 and B2 share their last two convolutions (paper section 3.2; ablation in table 4).
        b2_input: "a2_penultimate" reads the input of A2's last block, as both public implementations do; "a2" its output.
            Deviation: the paper's text says A2's output; "a2_penultimate" is what published checkpoints hold.
    """

    def __init__(
        self,
        stem: Stem,
        num_classes: int,
        a3_channels: int,
        b_channels: int,
        dropout: float,
        branches: Iterable[str],
        shared_weights: bool,
        b2_input: str,
        c_channels: int,
    ) -> None:
        super().__init__()
        self.branches = tuple(branches)
        if self.branches not in ((), ("b1", "b2"), BRANCHES):
            raise UserError(f"branches={list(self.branches)}: choose [], [b1, b2] or [b1, b2, c]")
        if b2_input not in ("a2", "a2_penultimate"):
            raise UserError(
                f"b2_input={b2_input}: choose a2_penultimate (the public implementations) or a2 (the paper's text)"
            )
        if len(stem.mean) != 3 or len(stem.std) != 3 or min(stem.std) <= 0:
            raise UserError(
                f"stem.network: mean={list(stem.mean)}, std={list(stem.std)}; give three numbers each, std above 0"
            )
        self.stem, self.b2_input = stem, b2_input
        widths = stem.channels
        self.dropout = nn.Dropout(dropout)
        if stem.a3 is None:
            self.a3_1 = nn.Conv2d(widths.a2, a3_channels, kernel_size=3, padding=1)
            self.a3_2 = nn.Conv2d(a3_channels, a3_channels, kernel_size=3, padding=1)
        self.head_features = nn.Identity()  # what A4 reads; a name for those who hook
        self.a4 = nn.Conv2d(a3_channels, num_classes, kernel_size=1)
        if "b1" in self.branches:
            self.b1 = nn.Conv2d(widths.a1, b_channels, kernel_size=3, padding=1)
            self.b2 = nn.Conv2d(getattr(widths, b2_input), b_channels, kernel_size=3, padding=1)
            self.b_head = _map_head(b_channels, b_channels)
            # two names for one module where it is shared; the second would only repeat its keys, so it is a property
            self.b2_head_own = None if shared_weights else _map_head(b_channels, b_channels)
        if "c" in self.branches:
            self.c = _map_head(a3_channels, c_channels)
        for layer in self.head_modules():
            initialize(layer)

    def forward(self, images: Float[Tensor, "B 3 Y X"], branches: Iterable[str] | None = None) -> SPGOutput:
        """Return scores and maps of normalised images.

        Args:
            images: (B, 3, Y, X), normalised as the stem wants it.
            branches: which of b1, b2, c to compute; None for all there are, () for scores and class maps alone, at the
                cost of a plain classifier.

        Raises:
            UserError: this network lacks a requested branch.
        """
        wanted = self.branches if branches is None else tuple(branches)
        if missing := set(wanted) - set(self.branches):
            raise UserError(f"this network has no branch {sorted(missing)}; it has {list(self.branches) or 'none'}")
        features = self.stem(images)
        x = self.head_features(self._a3(features.a2))
        class_maps = self.a4(x)
        return SPGOutput(
            logits=class_maps.mean(dim=(2, 3), dtype=at_least_float32(class_maps)),
            class_maps=class_maps,
            b1=self.b_head(F.relu(self.b1(features.a1))) if "b1" in wanted else None,
            b2=self.b2_head(F.relu(self.b2(getattr(features, self.b2_input)))) if "b2" in wanted else None,
            c=self.c(x) if "c" in wanted else None,
            image_size=(images.shape[-2], images.shape[-1]),
        )

    def _a3(self, a2: Float[Tensor, "B C2 H W"]) -> Float[Tensor, "B C H W"]:
        if self.stem.a3 is not None:
            return self.dropout(self.stem.a3(a2))
        x = F.relu(self.a3_1(self.dropout(a2)))
        return self.dropout(F.relu(self.a3_2(self.dropout(x))))

    @property
    def b2_head(self) -> nn.Module:
        """The last two convolutions of B2: B1's own where they are shared."""
        return self.b_head if self.b2_head_own is None else self.b2_head_own

    def head_modules(self) -> list[nn.Module]:
        """Return every part that no ImageNet weights exist for: all but the stem."""
        return [part for name, part in self.named_children() if name != "stem"]


def at_least_float32(values: Tensor) -> torch.dtype:
    """Return the type to count in: float32 for what autocast made in bfloat16 or float16, else the values' own."""
    return torch.promote_types(values.dtype, torch.float32)


def _map_head(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, 1, kernel_size=1),
    )


def initialize(part: nn.Module) -> None:
    """Draw the weights of a new part as the CVPR 2020 benchmark does: Xavier uniform, biases zero.

    He's larger initialisation saturates the sigmoids and kills ReLUs within the first steps at ten times the stem's rate.
    """
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
