"""The one error type for mistakes a user can mend."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in the input. Its text is one line: the file, row or key, and the way out."""


class RunStopped(BaseException):
    """A run ends before its end, with nothing wrong. Not an `Exception`, so that no handler on the way mistakes it for an error.

    Attributes:
        code: exit code.
    """

    code: int


class RunPruned(RunStopped):
    """A trial of a search is hopeless."""

    code = 4


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ' Did you mean ...?' for the choice most like `name`, or an empty string."""
    found = get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{found[0]}'?" if found else ""


def shorten_words(text: str) -> str:
    """Return a text with the middle left out of words of more than 300 characters: no path is that long, but a damaged row is."""
    return re.sub(r"\S{301,}", lambda word: f"{word[0][:60]}...{word[0][-20:]}", text)


def find_user_error(error: BaseException | None) -> UserError | None:
    """Return the `UserError` that led to `error`, if one did, without the traceback that a loader's worker adds."""
    while error is not None:
        if isinstance(error, UserError):
            own = str(error).rstrip().rpartition("UserError: ")[2]
            return UserError(own) if str(error).startswith("Caught UserError in") else error
        error = error.__cause__ or error.__context__
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, with the next where it ends at a colon; the error's type where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[: 1 + lines[0].endswith(":")])[:160]
