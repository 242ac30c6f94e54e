"""The norm of pretrained features."""

from jaxtyping import Float
from torch import Tensor

from spg_lightning.score_maps.training_free import TrainingFreeMap


class FeatureNorm(TrainingFreeMap):
    """Euclidean norm of the features over the channels: large where the backbone recognises something."""

    def evidence(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the norms."""
        return features.norm(dim=1, keepdim=True)
