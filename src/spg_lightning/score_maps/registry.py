"""The registry of score maps, and the choice among them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

from spg_lightning.errors import UserError, nearest

if TYPE_CHECKING:
    from spg_lightning.score_maps.context import ScoreMapContext


class ScoreMap:
    """Base class of all score maps: a callable from one forward and one class an image to a map.

    Attributes:
        branches: outputs of the network that the map reads, beyond the class maps.
        per_class: whether the map depends on the class.
        requires_grad: "features" or "images" if the map needs the gradient of a logit by them, else "".
        auto: whether `score_map=auto` includes the map; for maps that cost nothing beyond the forward.
    """

    branches: tuple[str, ...] = ()
    per_class: bool = True
    requires_grad: str = ""
    auto: bool = False

    def __call__(self, context: "ScoreMapContext", classes: Int[Tensor, " B"]) -> Float[Tensor, "B 1 Y X"]:
        """Return the map of each image's class at the size of the images, min-max normalised to [0, 1]."""
        raise NotImplementedError


SCORE_MAPS: dict[str, ScoreMap] = {}


def register(name: str) -> Callable[[type[ScoreMap]], type[ScoreMap]]:
    """Register a score map class, whose constructor takes no arguments, under a name."""

    def add(score_map: type[ScoreMap]) -> type[ScoreMap]:
        SCORE_MAPS[name] = score_map()
        return score_map

    return add


def supported(branches: Iterable[str], extra: Mapping[str, ScoreMap] | None = None) -> dict[str, ScoreMap]:
    """Return the registered and the extra score maps that a network with these branches offers."""
    known = {**SCORE_MAPS, **(extra or {})}
    return {name: score_map for name, score_map in known.items() if set(score_map.branches) <= set(branches)}


def resolve(
    names: str | Sequence[str], branches: Iterable[str], extra: Mapping[str, ScoreMap] | None = None
) -> dict[str, ScoreMap]:
    """Return the named score maps, in order and each once.

    Args:
        names: one name, several, or "auto" for all maps that cost nothing beyond the forward, and the extra ones.
        branches: of the network.
        extra: further score maps by name, beside the registered ones.

    Raises:
        UserError: an unknown name, a map that this network lacks the branches for, or no name at all.
    """
    offered = supported(branches, extra)
    if names == "auto":
        return {name: score_map for name, score_map in offered.items() if score_map.auto or name in (extra or {})}
    listed = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    known = [*SCORE_MAPS, *(extra or {})]
    for name in listed:
        if name not in known:
            raise UserError(
                f"score_map={name} does not exist; choose from auto, {', '.join(known)}.{nearest(name, known)}"
            )
        if name not in offered:
            raise UserError(f"score_map={name} needs branches this network lacks; it offers {', '.join(offered)}")
    if not listed:
        raise UserError(f"score_map=[]: name at least one of auto, {', '.join(offered)}")
    return {name: offered[name] for name in listed}
