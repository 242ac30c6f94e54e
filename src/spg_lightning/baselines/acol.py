"""Adversarial complementary learning, ACoL (Zhang et al., CVPR 2018): a second classifier does not see the region of the first."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spg_lightning.spg.maps import class_map, min_max
from spg_lightning.spg.network import SPGNetwork, SPGOutput, at_least_float32, initialize
from spg_lightning.spg.training_step import Loss


class ACoLNetwork(SPGNetwork):
    """SPG-plain as classifier A, and a second classifier B that sees A2's features without what A attends to.

    Args:
        threshold: features are erased where A's map of the class, min-max normalised, reaches it (paper section 3.3).
        network: of `SPGNetwork`, without branches.
    """

    def __init__(self, threshold: float, **network: Any) -> None:
        super().__init__(**network)
        self.threshold = threshold
        inner, dropout = network["a3_channels"], network["dropout"]
        self.classifier_b = nn.Sequential(
            nn.Dropout(dropout), nn.Conv2d(self.stem.channels.a2, inner, 3, padding=1), nn.ReLU(),
            nn.Dropout(dropout), nn.Conv2d(inner, inner, 3, padding=1), nn.ReLU(),
            nn.Dropout(dropout), nn.Conv2d(inner, network["num_classes"], 1),
        )  # fmt: skip
        initialize(self.classifier_b)

    def forward_branches(
        self, images: Float[Tensor, "B 3 Y X"], labels: Int[Tensor, " B"] | None
    ) -> tuple[SPGOutput, SPGOutput]:
        """Return the outputs of A and of B.

        Args:
            images: normalised.
            labels: whose map is erased from B's features; None: A's most probable classes.
        """
        size = (images.shape[-2], images.shape[-1])
        features = self.stem(images).a2
        a = self._output(self.a4(self.head_features(self._a3(features))), size)
        attended = min_max(class_map(a, a.logits.argmax(1) if labels is None else labels).detach())
        b = self.classifier_b(features * (attended < self.threshold).to(features.dtype))
        return a, self._output(b, size)

    def forward(self, images: Float[Tensor, "B 3 Y X"], branches: Iterable[str] | None = None) -> SPGOutput:
        """Return A's scores, and for each class the larger of A's and B's maps, each min-max normalised.

        Deviation: erased is what A attends to for its most probable class, also in the maps of the other classes; the
        benchmark runs B once for each class it localizes.
        """
        a, b = self.forward_branches(images, None)
        maps = torch.maximum(_each(a.class_maps), _each(b.class_maps))
        return SPGOutput(a.logits, maps, None, None, None, a.image_size)

    def _output(self, class_maps: Float[Tensor, "B K H W"], size: tuple[int, int]) -> SPGOutput:
        logits = class_maps.mean(dim=(2, 3), dtype=at_least_float32(class_maps))
        return SPGOutput(logits, class_maps, None, None, None, size)


def acol_step(
    network: ACoLNetwork, loss: Loss, images: Float[Tensor, "B 3 Y X"], labels: Int[Tensor, " B"]
) -> dict[str, Tensor]:
    """Return the sum of both classifiers' losses; see `standard_step`."""
    a, b = (loss(output, labels) for output in network.forward_branches(images, labels))
    return {"cls": a["cls"], "cls_b": b["cls"], "total": a["total"] + b["total"]}


def _each(class_maps: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K H W"]:
    return min_max(class_maps.flatten(0, 1).unsqueeze(1)).view_as(class_maps)
