"""SPG's masks and losses from the definition: one image and one pixel rule at a time, in NumPy."""

import numpy as np


def mask(score_map, high, low):
    """One image: 1 foreground, 0 background, -1 ignored."""
    if (score_map > high).sum() < 30:
        high = 0.7 * score_map.max()
    out = np.full(score_map.shape, -1)
    out[score_map > high] = 1
    out[score_map < low] = 0
    return out


def bce(logits, masks):
    """Mean over all pixels of all images that are not ignored."""
    total, count = 0.0, 0
    for image, taught in zip(logits, masks, strict=True):
        for logit, target in zip(image[taught >= 0], taught[taught >= 0], strict=True):
            p = 1 / (1 + np.exp(-logit))
            total -= np.log(p) if target == 1 else np.log(1 - p)
            count += 1
    return total / count


def cross_entropy(logits, labels):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return -np.mean(np.log(shifted[np.arange(len(labels)), labels] / shifted.sum(1)))
