"""The confidence of a box: its features by hand, and its fit against another implementation."""

import numpy as np
import pytest

from spg_lightning.localization.confidence import (
    FEATURES,
    PENALTY,
    Confidence,
    box_features,
    fit_logistic,
)
from spg_lightning.localization.regions import find_regions


def test_the_features_by_hand():
    values = np.zeros((10, 10), np.float32)
    values[2:6, 2:6] = 1.0  # 16 pixels
    values[8:10, 8:10] = 0.5  # 4 pixels
    (region,) = find_regions(values, 0.45, (10, 10))
    found = dict(zip(FEATURES, box_features(np.array([0.75, 0.25]), 0, values, region, 0.45), strict=True))
    assert found["log_odds"] == pytest.approx(np.log(3))
    assert found["entropy"] == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2))
    assert found["contrast"] == pytest.approx(1 - 4 * 0.5 / 84)
    assert found["share_of_mask"] == pytest.approx(16 / 20)
    assert found["steepness"] == pytest.approx(16 / 20)  # 0.5 lies between 0.75 and 1.25 x 0.45
    assert found["log_area"] == pytest.approx(np.log(0.16))


def test_the_features_at_the_ends_of_their_ranges():
    (whole,) = find_regions(np.ones((4, 4), np.float32), 0.5, (4, 4))
    found = dict(zip(FEATURES, box_features(np.array([1.0]), 0, np.ones((4, 4)), whole, 0.5), strict=True))
    assert found["log_odds"] == pytest.approx(np.log(0.9999 / 0.0001))
    assert found == {**found, "entropy": 0, "contrast": 1, "share_of_mask": 1, "steepness": 1, "log_area": 0}
    values = np.zeros((4, 4), np.float32)
    values[0, 0], values[3, 3] = 1.0, 0.5  # at the threshold, not above it
    (pixel,) = find_regions(values, 0.5, (4, 4))
    found = dict(zip(FEATURES, box_features(np.array([0.0, 1.0]), 0, values, pixel, 0.5), strict=True))
    assert found["log_odds"] == pytest.approx(np.log(0.0001 / 0.9999))
    assert found["entropy"] == pytest.approx(0, abs=1e-9)
    assert found["share_of_mask"] == 1
    assert found["steepness"] == 0.5
    single = np.zeros((4, 4), np.float32)
    single[2, 1] = 1.0
    (region,) = find_regions(single, 0.5, (4, 4))
    assert box_features(np.array([0.5, 0.5]), 0, single, region, 0.5)[FEATURES.index("steepness")] == 1


def examples(count=400, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(2, 3, (count, 3))
    odds = 0.8 * features[:, 0] - 0.3 * features[:, 1] - 1
    return features, rng.random(count) < 1 / (1 + np.exp(-odds))


def test_the_fit_equals_scikit_learns():
    from sklearn.linear_model import LogisticRegression

    features, is_true = examples()
    features *= 0.01
    fit = fit_logistic(features, is_true)
    z = (features - features.mean(0)) / features.std(0)
    other = LogisticRegression(C=1 / (2 * PENALTY), tol=1e-8).fit(z, is_true)
    assert np.allclose(fit.weights, other.coef_[0], atol=1e-4)
    assert np.allclose(fit(features), other.predict_proba(z)[:, 1], atol=1e-4)


def test_it_is_calibrated_on_other_examples():
    fit = fit_logistic(*examples(2000))
    features, is_true = examples(4000, seed=1)
    probability = fit(features)
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (probability >= low) & (probability < low + 0.25)
        assert abs(probability[inside].mean() - is_true[inside].mean()) < 0.05


def test_too_few_examples_fit_nothing():
    features, is_true = examples(19)
    assert fit_logistic(features, is_true) is None
    features = np.random.default_rng(0).random((100, 3))
    assert fit_logistic(features, np.arange(100) < 96) is None
    assert fit_logistic(features, np.arange(100) >= 96) is None
    assert fit_logistic(features, np.arange(100) < 95) is not None
    assert fit_logistic(features[:20], np.arange(20) < 5) is not None


def test_a_feature_that_does_not_vary_counts_for_nothing():
    features, is_true = examples()
    features[:, 2] = 7.0
    fit = fit_logistic(features, is_true)
    assert fit.weights[2] == pytest.approx(0, abs=1e-6)
    assert np.allclose(fit(features), fit_logistic(features[:, :2], is_true)(features[:, :2]), atol=1e-4)


def test_plain_data_and_back():
    confidence = Confidence(fit_logistic(*examples()), None, 0.3, 120, True)
    assert Confidence.from_plain(confidence.as_plain()) == confidence
    assert Confidence.from_plain(None) == Confidence.from_plain({}) == Confidence.from_plain({"box": None})
    assert Confidence.from_plain({}) == Confidence()
    import json

    assert Confidence.from_plain(json.loads(json.dumps(confidence.as_plain()))) == confidence


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"mean": [0.0]}, "differ in length"),
        ({"weights": [0.5, np.inf]}, "not finite"),
        ({"bias": np.nan}, "not finite"),
    ],
)
def test_a_damaged_fit_is_refused(entry, message):
    good = {"mean": [0.0, 0.0], "scale": [1.0, 1.0], "weights": [0.5, 0.5], "bias": 0.0}
    assert Confidence.from_plain({"presence": good}).presence.weights == (0.5, 0.5)
    with pytest.raises(ValueError, match=message):
        Confidence.from_plain({"presence": {**good, **entry}})
