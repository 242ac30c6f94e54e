"""Assign the images of a folder to train, val and test: images with ground truth choose and measure, the others train."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from spg_lightning.data.records import annotated_share
from spg_lightning.errors import UserError

SPLITS = ("train", "val", "test")


def draw_splits(
    classes: Mapping[str, str],
    kept: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    has_truth: Collection[str],
) -> dict[str, str]:
    """Assign the images of each class to the splits. Depends on the seed and the names, not on their order.

    Where only some images have boxes or masks, these go to val first, `MIN_ANNOTATED_VAL` of them even if that is more than its
    fraction; the others fill test, then val, and are trained on only beyond that.

    Args:
        classes: image -> class.
        kept: images to assign.
        fractions: split -> fraction of each class.
        seed: of the draw.
        has_truth: images with boxes or masks.

    Returns:
        Image -> split.

    Raises:
        UserError: fractions that do not add up to 1, or lack train or test.
    """
    wrong = set(fractions) - {*SPLITS} or any(not 0 <= fraction <= 1 for fraction in fractions.values())
    if wrong or not np.isclose(sum(fractions.values()), 1) or not fractions.get("train") or not fractions.get("test"):
        raise UserError(
            f"dataset.reader.fractions={dict(fractions)}: give fractions of train, val and test that add up to 1"
        )
    rng = np.random.default_rng(seed)
    splits: dict[str, str] = {}
    total = sum(image in has_truth for image in kept)
    for name in sorted(set(classes.values()), key=natural_order):
        of_class = sorted(image for image in kept if classes[image] == name)
        shuffled = [of_class[i] for i in rng.permutation(len(of_class))]
        # each requested split gets an image of every class while there are any
        places = {
            split: max(round(fractions[split] * len(of_class)), 1)
            for split in ("test", "val")
            if fractions.get(split) and len(of_class) > 1
        }
        if total < len(kept):
            annotated = [image for image in shuffled if image in has_truth]
            first = annotated[: annotated_share(len(annotated), total, len(of_class))]
            # without val, it is later held out of the training images
            splits |= dict.fromkeys(first, "val" if "val" in places else "train")
            places = {split: count - len(first) * (split == "val") for split, count in places.items()}
            chosen = {*first}
            rest = [image for image in shuffled if image not in chosen]
            shuffled = sorted(rest, key=lambda image: image not in has_truth)
        for split, count in places.items():
            taken = max(count, 0) if len(shuffled) > 1 else 0  # one image is left to train on
            splits |= dict.fromkeys(shuffled[:taken], split)
            shuffled = shuffled[taken:]
        splits |= dict.fromkeys(shuffled, "train")
    return splits


def natural_order(name: str) -> tuple[float, str]:
    """Return a sort key that orders numbers by value."""
    return (float(name), "") if name.isdigit() else (float("inf"), name)
