"""Self-describing checkpoints: the file alone suffices to rebuild the network, and no code stored in it runs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from spg_lightning.checkpoints.hub_address import local_file
from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.checkpoints.metadata_checks import check_config
from spg_lightning.errors import UserError
from spg_lightning.localization.description_checks import check_description
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.torch_files import load_torch_file

KEY = "spg_lightning"
FORMAT = 3  # raised when the config of a run or the names of weights change
NETWORK_PREFIX = "network."
STATES_PREFIX = "score_map_states/"  # of tensors in a .safetensors file, which has one level of names


@dataclass(frozen=True)
class CheckpointMetadata:
    """The description that a checkpoint carries, as plain data.

    Attributes:
        config: the run's resolved config.
        class_names: in the order of the labels.
        crop: side of the network's square input in pixels.
        localization: score_map, threshold and confidence (`Confidence.as_plain`) from val; empty before the evaluation.
        score_map_states: what score maps learnt from the training images, by name.
    """

    config: dict[str, Any]
    class_names: tuple[str, ...]
    crop: int
    localization: dict[str, Any]
    score_map_states: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def as_plain(self) -> dict[str, Any]:
        """Return the entry that a checkpoint stores under `KEY`."""
        return {"format": FORMAT, **asdict(self), "class_names": list(self.class_names)}


def add_localization(path: Path, score_map: str, threshold: float, confidence: Mapping[str, Any]) -> None:
    """Store the score map and threshold chosen on val, and the confidence fitted there, in a checkpoint, atomically."""
    checkpoint = load_checkpoint(path)
    checkpoint[KEY]["localization"] = {"score_map": score_map, "threshold": threshold, "confidence": dict(confidence)}
    atomic_save(checkpoint, path)


def read_checkpoint(path: str | Path) -> tuple[CheckpointMetadata, dict[str, Tensor]]:
    """Return a checkpoint's metadata and the network's state dict.

    Args:
        path: of a .ckpt or .safetensors file, a folder that `push` wrote, or `hf://owner/name[@revision]`.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of this package; its config is not plain data, or has a
            number out of its range; see also `local_file`.
    """
    checkpoint = load_checkpoint(local_file(path))
    stored = {name: value for name, value in checkpoint[KEY].items() if name != "format"}
    metadata = CheckpointMetadata(**{**stored, "class_names": tuple(stored["class_names"])})
    state_dict = {
        name.removeprefix(NETWORK_PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(NETWORK_PREFIX)
    }
    return metadata, state_dict


def write_weights(path: Path, metadata: CheckpointMetadata, state_dict: dict[str, Tensor]) -> None:
    """Write metadata and a network's weights as one .safetensors file, atomically."""
    named = {f"{NETWORK_PREFIX}{name}": value.contiguous() for name, value in state_dict.items()}
    for name, state in metadata.score_map_states.items():
        named |= {f"{STATES_PREFIX}{name}/{key}": value.contiguous() for key, value in state.items()}
    plain = replace(metadata, score_map_states={}).as_plain()
    with atomically(path) as file:
        file.write(save(named, metadata={KEY: json.dumps(plain)}))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the full content of a checkpoint.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of this package.
    """
    if not path.is_file():
        inside = path / "checkpoints" / "last.ckpt"
        hint = f"did you mean {inside}" if inside.is_file() else "a run folder holds it as checkpoints/last.ckpt"
        raise UserError(f"checkpoint={path}: no such file; {hint}")
    try:
        checkpoint = _read(path)
    except Exception as error:  # every reader fails in its own way on a damaged or foreign file
        raise UserError(
            f"checkpoint={path} is damaged or not a checkpoint; give a .ckpt written by spg_lightning.train"
        ) from error
    if not isinstance(checkpoint, Mapping) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(
            f"checkpoint={path} was not written by spg_lightning; convert published weights with "
            "python -m spg_lightning.convert source=<file> layout=<layout> output=<file>.safetensors"
        )
    stored = checkpoint[KEY]
    number = stored.get("format") if isinstance(stored, Mapping) else None
    if number != FORMAT:
        raise UserError(
            f"checkpoint={path} has format {str(number)[:40]}, this version reads format {FORMAT}; train again, or use the "
            "version of spg_lightning that wrote it"
        )
    _check(checkpoint, f"checkpoint={path}")
    return dict(checkpoint)


def _check(checkpoint: Mapping[str, Any], where: str) -> None:
    """Check metadata and weights.

    Raises:
        UserError: an entry is missing, of another type, or out of its range.
    """
    stored: Mapping[str, Any] = checkpoint[KEY]
    names = {entry.name for entry in fields(CheckpointMetadata)} | {"format"}
    chosen, states = stored.get("localization"), stored.get("score_map_states", {})
    if not set(stored) <= names or not isinstance(chosen, Mapping) or not isinstance(states, Mapping):
        raise UserError(f"{where} is damaged: its description has other entries than {', '.join(sorted(names))}")
    check_description({**chosen, **{key: stored.get(key) for key in ("crop", "class_names")}}, where)
    check_config(stored.get("config"), where)
    for tensors in (checkpoint["state_dict"], *states.values()):
        if not isinstance(tensors, Mapping) or not all(map(_is_whole_tensor, tensors.values())):
            raise UserError(f"{where} is damaged: a weight is not a tensor with a number of its own for each element")


def _is_whole_tensor(value: Any) -> bool:
    """Return whether the file holds a tensor in full: one number can pose as a billion, which a copy would allocate."""
    is_dense = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    return is_dense and value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _read(path: Path) -> Any:
    if path.suffix != ".safetensors":
        # torch.save compresses nothing, so that memory is bounded by the size of the file
        with ZipFile(path) as archive:
            if any(entry.compress_type != ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is compressed")
        return load_torch_file(path)
    with safe_open(path, "pt") as file:
        stored = json.loads((file.metadata() or {}).get(KEY, "null"))
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in [name for name in weights if name.startswith(STATES_PREFIX) and stored is not None]:
        score_map, key = name.removeprefix(STATES_PREFIX).split("/", 1)
        stored["score_map_states"].setdefault(score_map, {})[key] = weights.pop(name)
    return {"state_dict": weights} | ({} if stored is None else {KEY: stored})
