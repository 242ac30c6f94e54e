"""Checkpoints that describe themselves: from the file alone the network is rebuilt, without running code stored in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.errors import UserError
from spg_lightning.utils.atomic import atomically

KEY = "spg_lightning"
FORMAT = 2  # raised when the config of a run or the names of weights change
NETWORK_PREFIX = "network."


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint says of itself, as plain data.

    Attributes:
        config: the run's resolved config.
        class_names: in the order of the labels.
        crop: side of the network's square input in pixels.
        localization: score_map and threshold chosen on validation; empty before the evaluation.
    """

    config: dict[str, Any]
    class_names: tuple[str, ...]
    crop: int
    localization: dict[str, Any]


class SaveMetadata(pl.Callback):
    """Adds the description to every checkpoint that the trainer writes."""

    def __init__(self, description: CheckpointMetadata) -> None:
        self.description = description

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the description into `checkpoint`."""
        checkpoint[KEY] = _as_plain(self.description)


def add_localization(path: Path, score_map: str, threshold: float) -> None:
    """Write the map and threshold chosen on validation into a checkpoint; the file is replaced whole or not at all."""
    checkpoint = load_checkpoint(path)
    checkpoint[KEY]["localization"] = {"score_map": score_map, "threshold": threshold}
    atomic_save(checkpoint, path)


def read_checkpoint(path: str | Path) -> tuple[CheckpointMetadata, dict[str, Tensor]]:
    """Return a checkpoint's description and the network's state dict.

    Raises:
        UserError: no such file, damaged, or not a checkpoint of this package.
    """
    checkpoint = load_checkpoint(Path(path).expanduser())
    said = checkpoint[KEY]
    description = CheckpointMetadata(
        config=said["config"],
        class_names=tuple(said["class_names"]),
        crop=said["crop"],
        localization=said["localization"],
    )
    state_dict = {
        name.removeprefix(NETWORK_PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(NETWORK_PREFIX)
    }
    return description, state_dict


def write_weights(path: Path, description: CheckpointMetadata, state_dict: dict[str, Tensor]) -> None:
    """Write a description and a network's weights as one .safetensors file; it is replaced whole or not at all."""
    named = {f"{NETWORK_PREFIX}{name}": value.contiguous() for name, value in state_dict.items()}
    with atomically(path) as file:
        file.write(save(named, metadata={KEY: json.dumps(_as_plain(description))}))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return all that a checkpoint holds.

    Raises:
        UserError: no such file, damaged, or not a checkpoint of this package.
    """
    if not path.is_file():
        inside = path / "checkpoints" / "last.ckpt"
        hint = (
            f"did you mean {inside}" if inside.is_file() else "training writes checkpoints/last.ckpt in its run folder"
        )
        raise UserError(f"checkpoint={path}: no such file; {hint}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                said = json.loads((file.metadata() or {}).get(KEY, "null"))
                checkpoint = {"state_dict": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
            if said is not None:
                checkpoint[KEY] = said
        else:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes the reader say
        raise UserError(
            f"checkpoint={path} is damaged or no checkpoint; give a .ckpt written by spg_lightning.train"
        ) from error
    if not isinstance(checkpoint, Mapping) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(
            f"checkpoint={path} was not written by spg_lightning; turn published weights into a checkpoint with "
            "python -m spg_lightning.convert source=<file> layout=<layout> output=<file>.safetensors"
        )
    if checkpoint[KEY]["format"] != FORMAT:
        raise UserError(f"checkpoint={path} has format {checkpoint[KEY]['format']}; this version reads format {FORMAT}")
    return dict(checkpoint)


def _as_plain(description: CheckpointMetadata) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "config": description.config,
        "class_names": list(description.class_names),
        "crop": description.crop,
        "localization": dict(description.localization),
    }
