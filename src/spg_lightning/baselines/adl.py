"""Attention-based dropout layer, ADL (Choe and Shim, CVPR 2019): hide the features that matter most, or stress them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spg_lightning.spg.network import SPGNetwork

Features = Float[Tensor, "B C H W"]


class AttentionDropout(nn.Module):
    """In training, multiply features by a drop mask or by an importance map; in evaluation, leave them.

    The attention of a place is its features' mean over the channels. The drop mask is 0 where the attention reaches
    `threshold` of the image's maximum and 1 elsewhere; the importance map is the attention's sigmoid (paper section 3.1).

    Args:
        drop_rate: probability of the drop mask, drawn for each batch.
        threshold: of the drop mask, as a share of the maximum.
    """

    def __init__(self, drop_rate: float, threshold: float) -> None:
        super().__init__()
        self.drop_rate, self.threshold = drop_rate, threshold

    def forward(self, features: Features) -> Features:
        """Return the features, weighted in training mode."""
        if not self.training:
            return features
        attention = features.mean(dim=1, keepdim=True)
        highest = attention.amax(dim=(2, 3), keepdim=True)
        mask = (attention < self.threshold * highest).to(features.dtype)
        drop = (torch.rand((), device=features.device) < self.drop_rate).to(features.dtype)  # no host synchronisation
        return features * (drop * mask + (1 - drop) * attention.sigmoid())


class ADLNetwork(SPGNetwork):
    """SPG-plain with two of these layers, on A2's features and on A3's.

    Deviation: the paper also has one between the earlier pooling layers; here stems are whole, and their features begin at
    A1's end.

    Args:
        drop_rate, threshold: see `AttentionDropout`.
        network: of `SPGNetwork`, without branches.
    """

    def __init__(self, drop_rate: float, threshold: float, **network: Any) -> None:
        super().__init__(**network)
        self.adl_a2 = AttentionDropout(drop_rate, threshold)
        self.adl_a3 = AttentionDropout(drop_rate, threshold)

    def _a3(self, a2: Float[Tensor, "B C2 H W"]) -> Features:
        return self.adl_a3(super()._a3(self.adl_a2(a2)))
