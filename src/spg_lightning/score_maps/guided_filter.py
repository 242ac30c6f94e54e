"""The guided filter (He, Sun and Tang, TPAMI 2013): a map becomes a local linear function of its image's colours."""

from jaxtyping import Float
from torch import Tensor

from spg_lightning.errors import UserError
from spg_lightning.score_maps.refinement import Refinement


class GuidedFilter(Refinement):
    """kornia's guided filter with an RGB guide.

    Args:
        radius: of the window in pixels of the frame.
        epsilon: smoothness; colours are in [0, 1].
        side: longer side of the frame in pixels.

    Raises:
        UserError: a value out of its range.
    """

    def __init__(self, radius: int, epsilon: float, side: int) -> None:
        super().__init__(side)
        if not 1 <= radius <= side or epsilon <= 0:
            raise UserError(
                f"refine.guided_filter: radius={radius}, epsilon={epsilon:g}; choose a radius of 1 to side={side} and an epsilon above 0"
            )
        self.radius, self.epsilon = radius, epsilon

    def prepare(self, rgb: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Return the colours themselves."""
        return rgb

    def propagate(self, maps: Float[Tensor, "B 1 H W"], guide: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the filtered maps."""
        from kornia.filters import guided_blur  # 2 s at import

        filtered: Tensor = guided_blur(guide, maps, 2 * self.radius + 1, self.epsilon)
        return filtered
