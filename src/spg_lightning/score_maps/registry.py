"""The registry of score maps, and the choice among them."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from spg_lightning.errors import UserError, nearest
from spg_lightning.score_maps.context import ScoreMap
from spg_lightning.score_maps.mean import Mean
from spg_lightning.score_maps.refinement import Refinement
from spg_lightning.score_maps.views import Views
from spg_lightning.spg.maps import Map

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
        names: one name, several, or "auto" for all maps that cost nothing beyond the forward, and the extra ones. A name like
            "b1+c" stands for the mean of its maps.
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
    for name in "+".join(listed).split("+") if listed else ():
        if name not in known:
            raise UserError(
                f"score_map={name} does not exist; choose from auto, {', '.join(known)}, or a mean like "
                f"{'+'.join(known[:2])}.{nearest(name, known)}"
            )
        if name not in offered:
            raise UserError(f"score_map={name} needs branches this network lacks; it offers {', '.join(offered)}")
    if not listed:
        raise UserError(f"score_map=[]: name at least one of auto, {', '.join(offered)}")
    return {
        name: Mean([offered[part] for part in name.split("+")]) if "+" in name else offered[name] for name in listed
    }


def processed(
    maps: Mapping[str, ScoreMap],
    normalizations: Mapping[str, Callable[[Map], Map]],
    refinements: Mapping[str, Refinement | None],
    views: Mapping[str, Views | None] | None = None,
) -> dict[str, ScoreMap]:
    """Return every map with every choice of views, normalisation and refinement.

    Args:
        maps: by name.
        normalizations, refinements, views: by name; without `views` the images alone. Where there are several of one kind,
            their names are added to the map's: `b1:flip:ivr:pamr`.

    Raises:
        UserError: an empty choice.
    """
    if not normalizations or not refinements:
        raise UserError("normalize=[] or refine=[]: name at least one of each, e.g. normalize=[minmax] refine=[none]")
    axes: list[Mapping[str, Any]] = [views or {"none": None}, normalizations, refinements]
    variants = {}
    for (name, score_map), *chosen in product(maps.items(), *(axis.items() for axis in axes)):
        words = [word for (word, _), axis in zip(chosen, axes, strict=True) if len(axis) > 1]
        variant = copy.copy(score_map)
        variant.views, variant.normalize, variant.refinement = (value for _, value in chosen)
        variants[":".join([name, *words])] = variant
    return variants
