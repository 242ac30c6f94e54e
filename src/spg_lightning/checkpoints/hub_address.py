"""Where a checkpoint lies: a file, a folder that `push` wrote, or an address of the Hugging Face hub."""

import re
from pathlib import Path

from spg_lightning.errors import UserError, first_line

WEIGHTS = "model.safetensors"  # the hub's name
SCHEME = "hf://"
# Path("hf://owner/name") has one slash
ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def local_file(checkpoint: str | Path) -> Path:
    """Return the file of a checkpoint; one at an address is downloaded once, into the hub's cache.

    Args:
        checkpoint: a path, a folder with a `model.safetensors`, or `hf://owner/name[@revision]`.

    Raises:
        UserError: a wrong address; a repository that does not exist, is private or cannot be reached.
    """
    if not is_address(checkpoint):
        path = Path(str(checkpoint)).expanduser()
        return path / WEIGHTS if (path / WEIGHTS).is_file() else path
    repo, revision = parse_address(checkpoint)
    # takes 0.3 s; only addresses need it
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    address = f"checkpoint={SCHEME}{repo}"
    try:
        return Path(hf_hub_download(repo, WEIGHTS, revision=revision))
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{address}: no such repository, or a private one; check the name, or log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{address}@{revision}: the repository has no such revision") from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{address} cannot be downloaded: no connection to the hub, and it was not downloaded before"
        ) from error
    except EntryNotFoundError as error:
        raise UserError(
            f"{address} holds no {WEIGHTS}; give a repository that python -m spg_lightning.push has written"
        ) from error
    except Exception as error:  # whatever a connection can raise
        raise UserError(f"{address} cannot be downloaded ({first_line(error)})") from error


def is_address(checkpoint: str | Path) -> bool:
    """Return whether a checkpoint lies on the hub."""
    return str(checkpoint).startswith("hf:/")


def parse_address(address: str | Path) -> tuple[str, str | None]:
    """Return the repository and the revision of an address.

    Raises:
        UserError: not of the form `hf://owner/name[@revision]`.
    """
    found = ADDRESS.fullmatch(str(address))
    if found is None:
        raise UserError(f"{address} is not an address; write hf://owner/name or hf://owner/name@revision")
    return found["repo"], found["revision"]
