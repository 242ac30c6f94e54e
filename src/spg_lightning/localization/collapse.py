"""Recognize a collapsed network or map: masks without background, boxes of the whole image, one class for all images."""

from collections.abc import Collection, Mapping, Sequence

MIN_IMAGES = 10  # fewer may well be alike
FULL_MASK = 0.99  # fraction of foreground
FULL_BOX = 0.9  # fraction of the image
MOST = 0.5  # fraction of the images


def full_masks(foreground: Mapping[str, float]) -> list[str]:
    """Return a warning if the masks that supervise some branches are all foreground.

    Args:
        foreground: branch -> the smallest foreground fraction of its masks.
    """
    branches = [name for name, fraction in foreground.items() if fraction > FULL_MASK]
    if not branches:
        return []
    keys = ", ".join(f"thresholds.{name}" for name in branches)
    return [
        f"the masks that supervise {' and '.join(name.upper() for name in branches)} are all foreground: nothing says where the "
        f"object ends. Likely the maps that they are made of are high everywhere: look at gallery/; raise high and low of {keys}, "
        "lower dataset.lr, or take guidance=seeded"
    ]


def box_fraction(box: Sequence[float], size: Sequence[int]) -> float:
    """Return the fraction of an image of `size` (width, height) that a box x0 y0 x1 y1 covers."""
    return (box[2] - box[0]) * (box[3] - box[1]) / (size[0] * size[1])


def full_boxes(fractions: Sequence[float]) -> list[str]:
    """Return a warning if most boxes are nearly the whole image.

    Args:
        fractions: of each image that its box covers.
    """
    full = sum(fraction > FULL_BOX for fraction in fractions)
    if len(fractions) < MIN_IMAGES or full <= MOST * len(fractions):
        return []
    return [
        f"{full} of {len(fractions)} boxes cover more than {FULL_BOX:.0%} of their image. Unless the objects do, the map has no "
        "contrast, or the threshold is too low: look at the maps; raise threshold=, or evaluate other maps (score_map=, "
        "normalize=) on val images with boxes"
    ]


def one_class(predicted: Sequence[str], labels: Collection[str] = ()) -> list[str]:
    """Return a warning if all images are predicted as one class.

    Args:
        predicted: class of each image.
        labels: of the same images, where known: of one class they explain it.
    """
    if len(predicted) < MIN_IMAGES or len({*predicted}) > 1 or len({*labels}) == 1:
        return []
    return [
        f"all {len(predicted)} images are predicted as {predicted[0]}. Unless they show only that, the classifier has collapsed, "
        "likely by too few steps or too high a rate: look at loss_cls in metrics.csv of the training; train longer, or lower dataset.lr"
    ]
