"""Parse JSON that others wrote."""

import json
from pathlib import Path
from typing import Any

from spg_lightning.errors import UserError
from spg_lightning.utils.limits import LARGEST_TEXT
from spg_lightning.utils.pipes import refuse_pipe


def read_json(path: Path, expected: str) -> Any:
    """Return the content of a file.

    Args:
        path: of the file.
        expected: what it should hold, for the message.

    Raises:
        UserError: larger than `LARGEST_TEXT`, not JSON, no text that UTF-8 can hold, or nested too deeply to parse.
    """
    refuse_pipe(path)
    if path.stat().st_size > LARGEST_TEXT:
        raise UserError(f"{path} has more than {LARGEST_TEXT} bytes; split it into several files")
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
        json.dumps(content, ensure_ascii=False).encode()  # halves of surrogate pairs could not be written or shown
        return content
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; it holds {expected}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({str(error)[:60]}); it holds {expected}") from None
