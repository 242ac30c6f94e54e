"""Tell what the numbers of a folder of maps would hide: maps without content, mixed sizes, and boxes rounded to a coarse grid."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

log = logging.getLogger(__name__)

COARSE = 56  # pixels of a side below which rounding the true boxes to whole pixels changes the errors
SHOWN = 3  # how many sizes a warning names

Size = tuple[int, int]


@dataclass(frozen=True)
class MapFacts:
    """A stored map: width and height, lowest and highest value."""

    size: Size
    low: float
    high: float

    @classmethod
    def of(cls, score_map: Float[np.ndarray, "Y X"]) -> "MapFacts":
        """Return the facts of a map."""
        return cls((score_map.shape[1], score_map.shape[0]), float(score_map.min()), float(score_map.max()))


def warn_of_maps(
    maps: Sequence[MapFacts], files: Sequence[Path], image_sizes: Sequence[Size], frames: Sequence[Size], key: str
) -> None:
    """Log a warning for each property of the maps that makes their numbers misleading.

    Args:
        maps, files: the stored maps.
        image_sizes, frames: width and height of each image, and of each map as it is compared.
        key: how users named the folder, such as "maps=out/maps".
    """
    constant = [i for i, facts in enumerate(maps) if facts.low == facts.high]
    if constant:
        zero = sum(maps[i].high == 0 for i in constant)
        log.warning(
            "%s: %d of %d maps are constant (%d all zero), first %s: the box is the whole image; check the code that wrote them",
            key, len(constant), len(maps), zero, files[constant[0]].name,
        )  # fmt: skip
    sizes = Counter(facts.size for facts in maps)
    if len(sizes) > 1 and any(facts.size != size for facts, size in zip(maps, image_sizes, strict=True)):
        listed = ", ".join(f"{count} of {describe(size)}" for size, count in sizes.most_common(SHOWN))
        log.warning(
            "%s: maps of %d sizes (%s%s): are they of one method?",
            key, len(sizes), listed, ", ..." if len(sizes) > SHOWN else "",
        )  # fmt: skip
    coarse = [frame for frame in frames if min(frame) < COARSE]
    if coarse:
        log.warning(
            "%s: the true boxes of %d of %d images are rounded to a grid below %d x %d pixels (the first: %s), which changes the "
            "errors; take map_size=224", key, len(coarse), len(frames), COARSE, COARSE, describe(coarse[0]),
        )  # fmt: skip


def describe(size: Size) -> str:
    """Return a size as "width x height"."""
    return f"{size[0]} x {size[1]}"
