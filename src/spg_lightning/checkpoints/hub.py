"""Share a checkpoint in the Hugging Face hub's layout: model.safetensors, config.json and a model card."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from spg_lightning.checkpoints.hub_address import SCHEME, WEIGHTS, parse_address
from spg_lightning.checkpoints.metadata import read_checkpoint, write_weights
from spg_lightning.checkpoints.model_card import model_card
from spg_lightning.errors import UserError, first_line
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.run_dir import RunDir

CONFIG, CARD = "config.json", "README.md"  # the hub's names


def write_shared(checkpoint: Path, folder: Path, repo: str | None = None) -> None:
    """Write a checkpoint as a folder that the hub, `evaluate`, `predict` and `Localizer.load` read.

    Args:
        checkpoint: its run folder's results go into the card.
        folder: to write to; created if missing.
        repo: its future name on the hub, for the card.

    Raises:
        UserError: the checkpoint cannot be used, or the folder cannot be written.
    """
    metadata, state_dict = read_checkpoint(checkpoint)
    metadata = replace(metadata, config=without_local_paths(metadata.config))
    metrics, provenance = _results(checkpoint)
    plain = {**asdict(replace(metadata, score_map_states={})), "library_name": "spg_lightning"}
    card = model_card(metadata, metrics, provenance, f"{SCHEME}{repo}" if repo else str(folder))
    try:
        write_weights(folder / WEIGHTS, metadata, state_dict)
        for name, text in ((CONFIG, json.dumps(plain, indent=2) + "\n"), (CARD, card)):
            with atomically(folder / name, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UserError(f"to={folder} cannot be written ({first_line(error)})") from error


def upload(checkpoint: Path, address: str, private: bool) -> str:
    """Upload a checkpoint to the hub, and return the address of the commit.

    Args:
        checkpoint: see `write_shared`.
        address: hf://owner/name; the repository is created if it does not exist.
        private: whether a new repository is.

    Raises:
        UserError: no token, no permission or no connection.
    """
    repo, revision = parse_address(address)
    # takes 0.3 s; a local folder does without
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalTokenNotFoundError

    api = HfApi()
    with TemporaryDirectory() as folder:
        write_shared(checkpoint, Path(folder), repo)
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=repo, folder_path=folder, revision=revision)
        except LocalTokenNotFoundError as error:
            raise UserError(f"to={address}: log in with `hf auth login`, or set HF_TOKEN") from error
        except Exception as error:  # whatever a connection can raise
            raise UserError(
                f"to={address}: the upload failed ({first_line(error)}); push to a folder, and upload that"
            ) from error
    return str(commit)


def without_local_paths(node: Any) -> Any:
    """Return a config in which absolute paths, which tell of the machine, are their last parts."""
    if isinstance(node, Mapping):
        return {key: without_local_paths(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_local_paths(value) for value in node]
    is_local = isinstance(node, str) and node.startswith(("/", "~"))
    return PurePosixPath(node).name if is_local else node


def _results(checkpoint: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Return metrics and provenance of the checkpoint's run; nothing for a file outside a finished run."""
    run = RunDir(checkpoint.parent.parent)
    if not run.is_finished:
        return {}, {}
    metrics, provenance = (json.loads(path.read_text(encoding="utf-8")) for path in (run.metrics, run.provenance))
    # the evaluation's numbers are those of one of the run's checkpoints
    is_evaluated = provenance.get("weights") == checkpoint.stem
    return (metrics if is_evaluated else {}), provenance
