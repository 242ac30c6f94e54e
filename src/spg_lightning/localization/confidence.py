"""The confidence of a box, and of an object being there at all: two logistic regressions, fitted on val."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from spg_lightning.localization.regions import Region

# of one map and its region, in the order of the weights
FEATURES = ("log_odds", "entropy", "contrast", "share_of_mask", "steepness", "log_area")
PENALTY = 1.0  # of the squared weights, per fit: some hundred images have to do
MIN_IMAGES, MIN_OF_A_KIND = 20, 5  # that a fit needs: in all, and right as well as wrong ones


def box_features(
    probabilities: Float[np.ndarray, " K"],
    class_index: int,
    score_map: Float[np.ndarray, "y x"],
    region: Region,
    threshold: float,
) -> Float[np.ndarray, "6"]:
    """Return what the confidence of a region's box is computed from, see `FEATURES`.

    * log_odds: log(p / (1 - p)) of the class's probability p.
    * entropy: of all classes' probabilities, divided by log K.
    * contrast: mean of the map inside the region, minus outside.
    * share_of_mask: the region's share of all pixels above the threshold.
    * steepness: pixels above 1.25 x threshold, divided by those above 0.75 x threshold; 1 for a map with sharp edges.
    * log_area: logarithm of the region's share of the map.

    Args:
        probabilities: of the K classes.
        class_index: the region's class.
        score_map: in [0, 1].
        region: one of `find_regions`.
        threshold: fraction of the map's maximum.
    """
    p = float(np.clip(probabilities[class_index], 1e-4, 1 - 1e-4))
    plenty = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1)
    entropy = -(plenty * np.log(plenty)).sum() / np.log(max(len(plenty), 2))
    level, inside, count = threshold * float(score_map.max()), region.mask, int(region.mask.sum())
    outside_mean = float(score_map[~inside].mean()) if count < inside.size else 0.0
    contrast = float(score_map[inside].mean()) - outside_mean if count else 0.0
    share = count / max(int((score_map > level).sum()), 1)
    steepness = (score_map > 1.25 * level).sum() / max(int((score_map > 0.75 * level).sum()), 1)
    return np.array([np.log(p / (1 - p)), entropy, contrast, share, steepness, np.log(max(count, 1) / inside.size)])


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on standardized features.

    Attributes:
        mean, scale: of each feature, where it was fitted.
        weights: of the standardized features.
        bias: of the log odds.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __call__(self, features: Float[np.ndarray, "n F"]) -> Float[np.ndarray, " n"]:
        """Return probabilities in [0, 1]."""
        z = (np.asarray(features) - self.mean) / self.scale
        return _sigmoid(z @ np.array(self.weights) + self.bias)


def fit_logistic(features: Float[np.ndarray, "n F"], is_true: Bool[np.ndarray, " n"]) -> Logistic | None:
    """Fit a logistic regression with a penalty on the squared weights; None where there are too few examples of a kind."""
    right = int(np.sum(is_true))
    if len(is_true) < MIN_IMAGES or min(right, len(is_true) - right) < MIN_OF_A_KIND:
        return None
    from scipy.optimize import minimize  # takes half a second, and applying a fit does without

    mean, scale = features.mean(0), np.maximum(features.std(0), 1e-6)
    z, sign = (features - mean) / scale, np.where(is_true, 1.0, -1.0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        margins = sign * (z @ weights + bias)
        slope = -sign * _sigmoid(-margins)
        value = np.logaddexp(0, -margins).sum() + PENALTY * (weights**2).sum()
        return float(value), np.append(z.T @ slope + 2 * PENALTY * weights, slope.sum())

    best = minimize(loss, np.zeros(z.shape[1] + 1), jac=True, method="BFGS").x
    return Logistic(tuple(mean.tolist()), tuple(scale.tolist()), tuple(best[:-1].tolist()), float(best[-1]))


def _sigmoid(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))  # overflows nowhere


@dataclass(frozen=True)
class Confidence:
    """The two probabilities of a localization.

    Attributes:
        box: that the box reaches IoU 0.5 with an object; None if val could not tell.
        presence: that the image shows an object of the classes at all; None if val could not tell.
        present_above: images with a smaller presence show nothing.
        num_val: images of val that both were fitted on.
        from_pseudo_boxes: pseudo boxes stood in for ground truth.
    """

    box: Logistic | None = None
    presence: Logistic | None = None
    present_above: float = 0.0
    num_val: int = 0
    from_pseudo_boxes: bool = False

    def as_plain(self) -> dict[str, Any]:
        """Return plain data for a checkpoint or an exported model."""
        return asdict(self)

    @classmethod
    def from_plain(cls, stored: Mapping[str, Any] | None) -> "Confidence":
        """Return what `as_plain` gave; without it a confidence that predicts None.

        Raises:
            KeyError, TypeError, ValueError: `as_plain` did not give it.
        """
        if stored is None or stored == {}:
            return cls()
        parts = {key: _logistic(stored.get(key)) for key in ("box", "presence")}
        above = float(stored.get("present_above", 0.0))
        return cls(**{**stored, **parts, "present_above": above})


def _logistic(stored: Mapping[str, Any] | None) -> Logistic | None:
    if stored is None:
        return None
    lists = {key: tuple(float(v) for v in stored[key]) for key in ("mean", "scale", "weights")}
    found = Logistic(bias=float(stored["bias"]), **lists)
    if not len(found.mean) == len(found.scale) == len(found.weights):
        raise ValueError("mean, scale and weights differ in length")
    if not np.isfinite([*found.mean, *found.scale, *found.weights, found.bias]).all():
        raise ValueError("numbers that are not finite")
    return found
