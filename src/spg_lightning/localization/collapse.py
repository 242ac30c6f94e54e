"""Signs that a model has collapsed: boxes of nearly the whole image, one class for all images, masks without background."""

from collections import Counter
from collections.abc import Sequence

WHOLE = 0.9  # of an image: a box that covers more says nothing
MOST = 0.5  # of the images
ALL_FOREGROUND = 0.95  # of a mask's pixels
FEWEST = 10  # images: fewer may well look alike


def box_collapse(fractions: Sequence[float]) -> str | None:
    """Return a warning if most boxes cover nearly the whole image; None otherwise.

    Args:
        fractions: the part of each image that its box covers, in [0, 1].
    """
    wide = sum(fraction > WHOLE for fraction in fractions)
    if len(fractions) < FEWEST or wide <= MOST * len(fractions):
        return None
    return (
        f"{wide} of {len(fractions)} boxes cover more than {WHOLE:.0%} of their image: the score map is nearly flat, or the threshold "
        "too low; look at the maps, try refine=pamr or another score_map=, or train with guidance=seeded"
    )


def class_collapse(predicted: Sequence[str], has_several: bool) -> str | None:
    """Return a warning if one class is predicted for all images; None otherwise.

    Args:
        predicted: the most probable class of each image, "" if unknown.
        has_several: whether the images are known to show several classes.
    """
    named = Counter(filter(None, predicted))
    if sum(named.values()) < FEWEST or len(named) > 1:
        return None
    (name,) = named
    cause = "the classifier has not learnt" if has_several else "if they show others, the classifier has not learnt"
    return f"all {named[name]} images are predicted as {name}: {cause}; train longer, with another optimizer.lr, or check the labels"


def mask_collapse(branch: str, foreground: float) -> str | None:
    """Return a warning if the masks that supervise a branch are nearly all foreground; None otherwise.

    Args:
        branch: b1, b2 or c.
        foreground: fraction of the masks' pixels that are foreground.
    """
    if foreground <= ALL_FOREGROUND:
        return None
    return (
        f"the masks that supervise {branch} are {foreground:.0%} foreground, so that it learns no background: the map they are cut "
        "from is nearly flat; try guidance=seeded, a lower optimizer.lr, or thresholds= with a higher delta_h"
    )
