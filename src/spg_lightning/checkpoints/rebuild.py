"""Rebuild the network, and the score maps, that a checkpoint describes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.checkpoints.allowed_targets import check_allowed_targets
from spg_lightning.checkpoints.metadata import CheckpointMetadata, read_checkpoint
from spg_lightning.errors import UserError
from spg_lightning.score_maps.context import ScoreMap
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.utils.instantiate import instantiate_node


def load_network(path: str | Path, trust: Sequence[str] = ()) -> tuple[SPGNetwork, CheckpointMetadata]:
    """Rebuild the network of a checkpoint, in evaluation mode, and return it with the checkpoint's metadata.

    Args:
        path: of the checkpoint.
        trust: packages, beside this one, whose classes the checkpoint may name.

    Raises:
        UserError: not a checkpoint of this package, or its config names a part that is not allowed.
    """
    metadata, state_dict = read_checkpoint(path)
    node = OmegaConf.to_container(OmegaConf.create(metadata.config).method.network, resolve=True)
    check_allowed_targets(node, path, trust)
    assert isinstance(node, dict)
    if "weights" in node["stem"]:
        node["stem"]["weights"] = "none"  # the checkpoint holds them
    network = instantiate_node(node, num_classes=len(metadata.class_names))
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as error:
        raise UserError(f"checkpoint={path}: its weights do not fit the network its config describes") from error
    return network.eval(), metadata


def trained_score_maps(
    metadata: CheckpointMetadata, path: str | Path, trust: Sequence[str] = ()
) -> dict[str, ScoreMap]:
    """Return the user's own score maps that a checkpoint's config names.

    Raises:
        UserError: one of them is not allowed.
    """
    nodes = (metadata.config.get("score_map") or {}).get("maps") or {}
    check_allowed_targets(nodes, path, trust)
    return build_score_maps(nodes)


def build_score_maps(nodes: Mapping[str, Any]) -> dict[str, ScoreMap]:
    """Return the score maps of a config's `score_map.maps`: name -> node."""
    return {str(name): instantiate_node(node) for name, node in nodes.items()}
