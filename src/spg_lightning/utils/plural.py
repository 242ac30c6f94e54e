"""Write a number with its noun."""


def plural(count: int, noun: str) -> str:
    """Return "1 image" or "2 images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
