"""Parse JSON that others wrote."""

import json
from pathlib import Path
from typing import Any

from spg_lightning.errors import UserError


def read_json(path: Path, expected: str) -> Any:
    """Return the content of a file.

    Args:
        path: of the file.
        expected: what it should hold, for the message.

    Raises:
        UserError: not JSON, not UTF-8 text, or nested too deeply to parse.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; it holds {expected}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({str(error)[:60]}); it holds {expected}") from None
