"""Check what checkpoints and exported models say of themselves. Imports no torch."""

from collections.abc import Callable, Mapping
from typing import Any

from spg_lightning.errors import UserError
from spg_lightning.localization.confidence import FEATURES, Confidence
from spg_lightning.utils.limits import LARGEST_SIDE


def check_description(stored: Mapping[str, Any], where: str) -> None:
    """Check class names, size, score map, threshold and confidence.

    Args:
        stored: `class_names`, `crop`, and optionally `score_map`, `threshold` and `confidence`.
        where: the file, for the message.

    Raises:
        UserError: one of them makes no sense.
    """
    checks: dict[str, Callable[[Any], bool]] = {
        "crop": lambda value: isinstance(value, int) and _is_number(value, 1, LARGEST_SIDE),
        "class_names": lambda value: (
            isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(name, str) for name in value)
        ),
        "score_map": lambda value: isinstance(value, str),
        "threshold": lambda value: _is_number(value, 0, 1),
        "confidence": _is_confidence,
    }
    for key, is_valid in checks.items():
        if (key in stored or key in ("crop", "class_names")) and not is_valid(stored.get(key)):
            raise UserError(
                f"{where}: its description is damaged, {key}={str(stored.get(key))[:40]} makes no sense; write the file again"
            )


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_confidence(stored: Any) -> bool:
    try:
        found = Confidence.from_plain(stored)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return False
    return all(part is None or len(part.weights) == len(FEATURES) for part in (found.box, found.presence))
