"""A score map of one's own: attention where B1 sees foreground."""

from torch import Tensor

from spg_lightning.score_maps import ScoreMap, ScoreMapContext
from spg_lightning.spg.maps import attention, foreground


class Product(ScoreMap):
    """The product of the class's attention and B1's foreground."""

    branches = ("b1",)

    def __call__(self, context: ScoreMapContext, classes: Tensor) -> Tensor:
        """Return the map of each image's class, (B, 1, Y, X) in any range."""
        output = context.output
        return attention(output, classes) * foreground(output.b1, output.image_size)
