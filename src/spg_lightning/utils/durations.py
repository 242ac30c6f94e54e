"""Durations in words."""


def duration(seconds: float) -> str:
    """Return a duration as one rounded number with its unit: 40 s, 12 min, 3 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"
