"""Find the line of a user's own code that an error comes from."""

import sysconfig
import traceback
from pathlib import Path

OWN = (
    Path(__file__).parents[1],
    Path(sysconfig.get_path("stdlib")),
)  # this package and Python, whose lines tell the user nothing
INSTALLED = {"site-packages", "dist-packages"}  # nor do those of libraries


def user_line(error: BaseException) -> str:
    """Return "<type> in <file>, line <n>" for the innermost line of a user's own file, or ""."""
    cause: BaseException | None = error
    while cause is not None:
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            path = Path(frame.filename)
            if path.is_absolute() and not INSTALLED & {*path.parts} and not any(own in path.parents for own in OWN):
                return f"{type(cause).__name__} in {path}, line {frame.lineno}"
        cause = cause.__cause__
    return ""
