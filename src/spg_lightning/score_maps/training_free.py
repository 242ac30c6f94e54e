"""The interface of maps from a pretrained backbone alone, before any training."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spg_lightning.errors import UserError
from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.mean import Mean
from spg_lightning.spg.maps import Map
from spg_lightning.stems.pretrained import PretrainedClassifier, resize
from spg_lightning.utils.limits import LARGEST_SIDE


class TrainingFreeMap(ScoreMap):
    """Base class: a map of what a pretrained backbone sees, whatever the network has learnt. The same for all classes.

    Args:
        classifier: the backbone.
        side: of the square that images are resized to before it, in pixels.

    Raises:
        UserError: a side out of its range.
    """

    per_class = False
    uses_network = False

    def __init__(self, classifier: PretrainedClassifier, side: int) -> None:
        if not 32 <= side <= LARGEST_SIDE:
            raise UserError(f"score_map: side={side}; choose 32 to {LARGEST_SIDE} pixels")
        self.classifier, self.side = classifier, side

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the evidence at the size of the images."""
        key = (self.classifier, self.side)
        if key not in context.shared:  # maps of one backbone share its forward
            context.shared[key] = self.features(context.rgb)
        return context.upsample(self.evidence(context.shared[key]))

    def features(self, rgb: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B D H W"]:
        """Return the backbone's final features of RGB images in [0, 1]."""
        with torch.no_grad():
            return self.classifier.to(rgb.device).features(resize(rgb.float(), self.side))

    def evidence(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the map of the features."""
        raise NotImplementedError

    def fit(self, images: Iterable[Float[Tensor, "B 3 Y X"]]) -> None:
        """Learn from training images without labels, RGB in [0, 1]. Most maps have nothing to learn."""

    @property
    def learns(self) -> bool:
        """Whether `fit` does anything."""
        return type(self).fit is not TrainingFreeMap.fit

    def state(self) -> dict[str, Tensor]:
        """Return what `fit` learnt."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `fit` learnt."""


def training_free_parts(maps: Mapping[str, ScoreMap]) -> Iterator[tuple[str, TrainingFreeMap]]:
    """Yield the training-free maps among score maps and in their means, by their own names; a name may come several times."""
    for name, score_map in maps.items():
        parts = score_map.parts if isinstance(score_map, Mean) else (score_map,)
        for part_name, part in zip(name.partition(":")[0].split("+"), parts, strict=True):
            if isinstance(part, TrainingFreeMap):
                yield part_name, part
