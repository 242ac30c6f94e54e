"""Class activation maps of the backbone's ImageNet classifier."""

from jaxtyping import Float
from torch import Tensor

from spg_lightning.score_maps.training_free import TrainingFreeMap
from spg_lightning.stems.pretrained import class_evidence


class PretrainedCAM(TrainingFreeMap):
    """The maps of all ImageNet classes (Zhou et al., CVPR 2016), weighted by their probabilities."""

    def evidence(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the weighted class maps."""
        return class_evidence(self.classifier, features)
