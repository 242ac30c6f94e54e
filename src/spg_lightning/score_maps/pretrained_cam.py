"""Class activation maps of the backbone's ImageNet classifier."""

import torch
from jaxtyping import Float
from torch import Tensor

from spg_lightning.score_maps.training_free import TrainingFreeMap


class PretrainedCAM(TrainingFreeMap):
    """The maps of all ImageNet classes (Zhou et al., CVPR 2016), weighted by their probabilities."""

    def evidence(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the weighted class maps.

        Raises:
            UserError: the backbone does not classify its mean features by one linear layer.
        """
        head = self.classifier.classifier()
        with torch.no_grad():
            weights = head(features.mean((2, 3))).softmax(1) @ head.weight
        return torch.einsum("bdhw,bd->bhw", features, weights).unsqueeze(1)
