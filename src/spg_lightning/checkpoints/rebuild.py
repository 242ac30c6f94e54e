"""Rebuild the network, and the score maps, that a checkpoint describes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from spg_lightning.checkpoints.allowed_targets import check_allowed_targets
from spg_lightning.checkpoints.metadata import CheckpointMetadata, read_checkpoint
from spg_lightning.errors import UserError, first_line
from spg_lightning.score_maps.context import ScoreMap
from spg_lightning.score_maps.normalization import MinMax
from spg_lightning.score_maps.registry import processed, resolve
from spg_lightning.score_maps.training_free import TrainingFreeMap
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.utils.instantiate import instantiate_node

OWN = "spg_lightning."
PROCESSING = ("views", "normalize", "refine")  # config groups of what follows a score map, in the order of a map's name


def load_network(path: str | Path, trust: Sequence[str] = ()) -> tuple[SPGNetwork, CheckpointMetadata]:
    """Rebuild the network of a checkpoint, in evaluation mode, and return it with the checkpoint's metadata.

    Args:
        path: of the checkpoint.
        trust: packages, beside this one, whose classes the checkpoint may name.

    Raises:
        UserError: not a checkpoint of this package, or its config names a part that is not allowed.
    """
    metadata, state_dict = read_checkpoint(path)
    node = metadata.config.get("method", {}).get("network")
    check_allowed_targets(node, path, trust)
    if not isinstance(node, Mapping) or not isinstance(stem := node.get("stem"), Mapping):
        raise UserError(f"checkpoint={path} is damaged: its config describes no network; train again")
    if "weights" in stem:
        node = {**node, "stem": {**stem, "weights": "none"}}  # the checkpoint holds them
    with _one_line(path):
        if str(stem.get("_target_")).startswith(OWN):
            with torch.device("meta"):  # allocates nothing: sizes that the weights do not have cost no memory
                _check_shapes(instantiate_node(node, num_classes=len(metadata.class_names)), state_dict, path)
        network = instantiate_node(node, num_classes=len(metadata.class_names))
        _check_shapes(network, state_dict, path)
        network.load_state_dict(state_dict)
    return network.eval(), metadata


def _check_shapes(network: Any, state_dict: Mapping[str, Tensor], path: str | Path) -> None:
    if not isinstance(network, SPGNetwork) or {name: value.shape for name, value in network.state_dict().items()} != {
        name: value.shape for name, value in state_dict.items()
    }:
        raise UserError(f"checkpoint={path}: its weights do not fit the network its config describes")


@contextmanager
def _one_line(path: str | Path) -> Iterator[None]:
    """Turn whatever a part makes of a damaged config into one line."""
    try:
        yield
    except UserError as error:
        raise error if f"checkpoint={path}" in str(error) else UserError(f"checkpoint={path}: {error}") from error
    except Exception as error:
        raise UserError(f"checkpoint={path}: its config does not fit its parts ({first_line(error)})") from error


def trained_score_maps(
    metadata: CheckpointMetadata, path: str | Path, trust: Sequence[str] = ()
) -> dict[str, ScoreMap]:
    """Return the score maps that a checkpoint's config constructs, with what they learnt from the training images.

    Raises:
        UserError: one of them is not allowed.
    """
    nodes = (metadata.config.get("score_map") or {}).get("maps") or {}
    check_allowed_targets(nodes, path, trust)
    with _one_line(path):
        return build_score_maps(nodes, metadata.score_map_states)


def use_stem_of_checkpoint(cfg: DictConfig, metadata: CheckpointMetadata) -> None:
    """Let `score_map=` of a command refer to the stem that the checkpoint was trained with: `${stem.pretrained}`.

    Raises:
        UserError: the stem names a part that is not allowed.
    """
    stem = metadata.config.get("stem") or {}
    check_allowed_targets(stem, cfg.checkpoint, cfg.trust)
    OmegaConf.update(cfg, "stem", stem, force_add=True)


def rebase_root(reader: DictConfig, root: str) -> None:
    """Replace the reader's root, and in its other paths the part that equals the old root."""
    old = str(reader.root).rstrip("/")
    for key, value in reader.items():
        if isinstance(value, str) and (value.rstrip("/") == old or value.startswith(f"{old}/")):
            reader[key] = root + value.removeprefix(old)


def build_score_maps(
    nodes: Mapping[str, Any], states: Mapping[str, dict[str, Tensor]] | None = None
) -> dict[str, ScoreMap]:
    """Return the score maps of a config's `score_map.maps`: name -> node.

    Args:
        nodes: by name.
        states: what some of them learnt from the training images, by name.
    """
    maps: dict[str, ScoreMap] = {str(name): instantiate_node(node) for name, node in nodes.items()}
    for name, state in (states or {}).items():
        if isinstance(score_map := maps.get(name), TrainingFreeMap):
            score_map.load_state(state)
    return maps


def build_processed_maps(
    names: str | Sequence[str],
    branches: Sequence[str],
    extra: Mapping[str, ScoreMap],
    config: Mapping[str, Any],
) -> dict[str, ScoreMap]:
    """Return the named score maps with every normalisation and refinement of a config.

    Args:
        names, branches, extra: see `resolve`.
        config: with the nodes of `PROCESSING`; without them the images alone, min-max and no refinement.

    Raises:
        UserError: a node that is no part; see also `resolve`.
    """
    views, normalizations, refinements = (_instantiate_choices(axis, config.get(axis)) for axis in PROCESSING)
    return processed(
        resolve(names, branches, extra), normalizations or {"minmax": MinMax()}, refinements or {"none": None}, views
    )


def _instantiate_choices(axis: str, nodes: Mapping[str, Any] | None) -> dict[str, Any]:
    parts = {str(name): None if node is None else instantiate_node(node) for name, node in (nodes or {}).items()}
    for name, part in parts.items():
        if isinstance(part, dict):
            raise UserError(f"{axis}.{name}={str(part)[:60]} is no part; give a node with _target_")
    return parts


def select_processed_map(
    given: str | None, stored: str, branches: Sequence[str], extra: Mapping[str, ScoreMap], config: Mapping[str, Any]
) -> dict[str, ScoreMap]:
    """Return one score map by its name, as a localizer takes it.

    Args:
        given: the user's choice, "b1" or "b1:pamr"; None for the stored one. A plain name takes the stored one's normalisation
            and refinement.
        stored: the evaluation's choice; "" without one.
        branches, extra, config: see `build_processed_maps`.

    Raises:
        UserError: the map does not exist, or the name leaves several normalisations or refinements open.
    """
    base = (given or stored).partition(":")[0]
    variants = build_processed_maps(base, branches, extra, config)
    if given and ":" in given:
        name = given
    else:  # of the stored words those that the config leaves open
        axes = [config.get(axis) or {} for axis in PROCESSING]
        open_words = {str(word) for axis in axes if len(axis) > 1 for word in axis}
        name = ":".join([base, *(word for word in stored.split(":")[1:] if word in open_words)])
    if name not in variants:
        raise UserError(f"score_map={name}: choose from {', '.join(variants)}")
    return {name: variants[name]}
