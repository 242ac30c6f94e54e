"""Import published SPG checkpoints: the authors' layout and the CVPR 2020 benchmark's, strictly.

Every key of the file has to be used and every parameter of the network set; anything else is an error that names the first of both.
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
from spg_lightning.stems.resnet50 import ResNet50Stem
from spg_lightning.stems.vgg16 import VGG16Stem

SHOWN = 5  # keys of each kind that an error names
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Layout:
    """How a public implementation names its parts.

    Attributes:
        stem: builds the stem for a map size, without weights.
        prefixes: its name -> ours, for every part that is not the stem's; what matches none belongs to the stem.
        a3_channels, b_channels, c_channels: widths in that implementation.
        dropout, b2_input: of that implementation.
    """

    stem: Callable[[int], Stem]
    prefixes: Mapping[str, str]
    a3_channels: int
    b_channels: int = 512
    c_channels: int = 512
    dropout: float = 0.5
    b2_input: str = "a2_penultimate"


def _inception(map_size: int) -> Stem:
    # both implementations normalise with ImageNet's mean and standard deviation
    return InceptionV3Stem(map_size=map_size, weights="none", mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _vgg16(map_size: int) -> Stem:
    return VGG16Stem(map_size=map_size, weights="none", mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _resnet50(map_size: int) -> Stem:
    return ResNet50Stem(map_size=map_size, weights="none", mean=IMAGENET_MEAN, std=IMAGENET_STD)


BENCHMARK_BRANCHES = {"SPG_B_1a.0": "b1", "SPG_B_2a.0": "b2", "SPG_B_shared": "b_head", "SPG_C": "c"}

LAYOUTS = {
    "author/inception_v3": Layout(
        stem=_inception,
        prefixes={
            "fc6.0": "a3_1", "fc7_1.0": "a3_2", "classier_1": "a4",
            "side3.0": "b1", "side4.0": "b2", "side_all": "b_head", "branchB": "c",
        },
        a3_channels=1024,
    ),
    "benchmark/inception_v3": Layout(
        stem=_inception,
        prefixes={
            "SPG_A3_1b.0": "a3_1", "SPG_A3_2b.0": "a3_2", "SPG_A4": "a4", **BENCHMARK_BRANCHES,
        },
        a3_channels=1024,
    ),
    "benchmark/vgg16": Layout(
        stem=_vgg16,
        prefixes={
            **{f"SPG_A_1.{k}": f"stem.features.{17 + k}" for k in (0, 2, 4)},
            **{f"SPG_A_2.{k}": f"stem.features.{24 + k}" for k in (0, 2, 4)},
            "SPG_A_3.0": "a3_1", "SPG_A_3.2": "a3_2", "SPG_A_4": "a4", **BENCHMARK_BRANCHES,
        },
        a3_channels=512, dropout=0.0, b2_input="a2",
    ),
    "benchmark/resnet50": Layout(
        stem=_resnet50,
        prefixes={
            "SPG_A1.0": "stem.layer3.0", **{f"SPG_A2.{k}": f"stem.layer3.{k + 1}" for k in range(5)},
            "SPG_A4": "a4", **BENCHMARK_BRANCHES,
        },
        a3_channels=2048, b_channels=1024, dropout=0.0, b2_input="a2",
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
        UserError: an unknown layout, or keys that are missing, left over or of another shape; names the first of each.
    """
    how = _layout(layout)
    network = SPGNetwork(
        stem=how.stem(map_size),
        num_classes=num_classes,
        a3_channels=how.a3_channels,
        b_channels=how.b_channels,
        dropout=how.dropout,
        branches=BRANCHES,
        shared_weights=True,
        b2_input=how.b2_input,
        c_channels=how.c_channels,
    )
    given = {published_to_ours(name, how.prefixes): value for name, value in _unwrap(state_dict).items()}
    _check(given, network.state_dict(), layout)
    network.load_state_dict(given)
    return network.eval()


def count_classes(state_dict: Mapping[str, object], layout: str) -> int:
    """Return how many classes a published checkpoint tells apart, from the biases of its A4.

    Raises:
        UserError: an unknown layout, no state dict, or one without that layout's A4.
    """
    prefixes = _layout(layout).prefixes
    for name, value in _unwrap(state_dict).items():
        if published_to_ours(name, prefixes) == "a4.bias":
            return len(value)
    a4 = next(theirs for theirs, ours in prefixes.items() if ours == "a4")
    raise UserError(f"checkpoint does not fit layout {layout}: it has no {a4}.bias; is it of another layout?")


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise UserError(f"layout {name!r} is unknown; choose from {', '.join(LAYOUTS)}.{nearest(name, LAYOUTS)}")
    return LAYOUTS[name]


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
        raise UserError("not a state dict: expected parameter names with tensors, or those under 'state_dict'")
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
        f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for what, names in (("missing", missing), ("not used", unused), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise UserError(f"checkpoint does not fit layout {layout}: " + re.sub(r"\s+", " ", "; ".join(problems)))
