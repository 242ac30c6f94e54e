"""Import published SPG checkpoints: the authors' layout and the CVPR 2020 benchmark's, strictly.

Every key of the file has to be used and every parameter of the network set; anything else is an error that lists both.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spg_lightning.errors import UserError, nearest
from spg_lightning.spg.network import BRANCHES, SPGNetwork
from spg_lightning.stems.base import Stem
from spg_lightning.stems.inception_v3 import InceptionV3Stem

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Layout:
    """How a public implementation names its parts.

    Attributes:
        stem: builds the stem for a map size, without weights.
        prefixes: its name -> ours, for every part that is not the stem's; what matches none belongs to the stem.
        a3_channels, b_channels: widths in that implementation.
    """

    stem: Callable[[int], Stem]
    prefixes: Mapping[str, str]
    a3_channels: int
    b_channels: int


def _inception(map_size: int) -> Stem:
    # both implementations normalise with ImageNet's mean and standard deviation
    return InceptionV3Stem(map_size=map_size, weights="none", mean=IMAGENET_MEAN, std=IMAGENET_STD)


LAYOUTS = {
    "author/inception_v3": Layout(
        stem=_inception,
        prefixes={
            "fc6.0": "a3_1", "fc7_1.0": "a3_2", "classier_1": "a4",
            "side3.0": "b1", "side4.0": "b2", "side_all": "b_head", "branchB": "c",
        },
        a3_channels=1024,
        b_channels=512,
    ),
    "benchmark/inception_v3": Layout(
        stem=_inception,
        prefixes={
            "SPG_A3_1b.0": "a3_1", "SPG_A3_2b.0": "a3_2", "SPG_A4": "a4",
            "SPG_B_1a.0": "b1", "SPG_B_2a.0": "b2", "SPG_B_shared": "b_head", "SPG_C": "c",
        },
        a3_channels=1024,
        b_channels=512,
    ),
}  # fmt: skip


def import_published(state_dict: Mapping[str, object], layout: str, num_classes: int, map_size: int) -> SPGNetwork:
    """Return the SPG network that a published checkpoint describes, in evaluation mode.

    Args:
        state_dict: names -> tensors, optionally inside `state_dict` and behind `module.`.
        layout: one of `LAYOUTS`.
        num_classes: K of the checkpoint.
        map_size: 28 or 14, the size of its maps at 224 x 224 input. The weights are the same for both, so that the
            checkpoint cannot tell.

    Raises:
        UserError: an unknown layout, or keys that are missing, left over or of another shape; all are listed.
    """
    if layout not in LAYOUTS:
        raise UserError(f"layout {layout!r} is unknown; choose from {', '.join(LAYOUTS)}.{nearest(layout, LAYOUTS)}")
    how = LAYOUTS[layout]
    network = SPGNetwork(
        stem=how.stem(map_size),
        num_classes=num_classes,
        a3_channels=how.a3_channels,
        b_channels=how.b_channels,
        dropout=0.5,
        branches=BRANCHES,
        shared_weights=True,
        b2_tap="a2_previous",
    )
    given = {published_to_ours(name, how.prefixes): value for name, value in _unwrap(state_dict).items()}
    _check(given, network.state_dict(), layout)
    network.load_state_dict(given)
    return network.eval()


def published_to_ours(name: str, prefixes: Mapping[str, str]) -> str:
    """Return our name of a published parameter."""
    name = name.removeprefix("module.")
    for theirs, ours in prefixes.items():
        if name.startswith(f"{theirs}."):
            return ours + name[len(theirs) :]
    return f"stem.{name}"


def _unwrap(state_dict: Mapping[str, object]) -> dict[str, Tensor]:
    inner = state_dict.get("state_dict", state_dict)
    if not isinstance(inner, Mapping) or not inner or not all(isinstance(value, Tensor) for value in inner.values()):
        raise UserError("this is no state dict: expected parameter names with tensors, or those under 'state_dict'")
    return dict(inner)


def _check(given: dict[str, Tensor], own: dict[str, Tensor], layout: str) -> None:
    # PyTorch before 0.4.1 counted no batches: checkpoints of that time lack these entries, which nothing here reads
    for name, value in own.items():
        if name.endswith("num_batches_tracked") and name not in given:
            given[name] = torch.zeros_like(value)
    missing = sorted(own.keys() - given.keys())
    unused = sorted(given.keys() - own.keys())
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & given.keys())
        if given[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names)}"
        for what, names in (("missing", missing), ("not used", unused), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise UserError(f"checkpoint does not fit layout {layout}: " + re.sub(r"\s+", " ", "; ".join(problems)))
