"""Every way to localize with a network, by name; and one look at a batch, from which any of them can be had."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchcam.methods import GradCAM, LayerCAM, ScoreCAM

from spg_lightning.errors import UserError, nearest
from spg_lightning.score_maps.saliency import Extractor, extracted, grad_cam_plus_plus, gradient_of, input_gradient
from spg_lightning.spg import maps as spg
from spg_lightning.spg.network import SPGNetwork, SPGOutput
from spg_lightning.utils.compile import eager

LAYER = (
    "head_features"  # the features that A4 reads: the last before the scores, as the papers of the CAM family take them
)
MASKED_AT_ONCE = 128  # inputs of one forward of Score-CAM
TORCHCAM: dict[str, Callable[..., Extractor]] = {"grad_cam": GradCAM, "layer_cam": LayerCAM, "score_cam": ScoreCAM}

Classes = Int[Tensor, " B"]


class _Scores(nn.Module):
    """The network as torchcam wants it, images to logits; the rest of its output is kept."""

    output: SPGOutput

    def __init__(self, network: SPGNetwork, branches: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.branches = network, branches

    def forward(self, images: Tensor) -> Tensor:
        # what Score-CAM masks comes contiguous
        self.output = self.network(images.contiguous(memory_format=torch.channels_last), self.branches)
        return self.output.logits


@dataclass
class ScoreMapContext:
    """A network's look at a batch of images. Made by `look`, valid inside its `with`.

    Attributes:
        output: without a graph.
        images: (B, 3, Y, X), normalised.
    """

    output: SPGOutput
    images: Tensor
    _logits: Tensor
    _features: Tensor
    _extractors: dict[str, Extractor]

    def map(self, name: str, classes: Classes) -> spg.Map:
        """Return a score map of one class an image: (B, 1, Y, X) in [0, 1], each min-max normalised."""
        # Lightning makes labels in inference mode; no graph may keep those
        return SCORE_MAPS[name].compute(self, classes.clone())

    def extract(self, name: str, classes: Classes) -> spg.Map:
        """Return the map of a torchcam extractor."""
        return self.enlarge(extracted(self._extractors[name], self._logits, classes))

    def features_and_gradient(self, classes: Classes) -> tuple[Tensor, Tensor]:
        """Return what A4 reads, and the gradient of the classes' logits by it."""
        return self._features.detach(), gradient_of(self._logits, classes, self._features)

    def image_gradient(self, classes: Classes) -> Tensor:
        """Return the gradient of the classes' logits by the images."""
        return gradient_of(self._logits, classes, self.images)

    def enlarge(self, maps: Tensor) -> spg.Map:
        """Return maps at the images' size, in [0, 1]."""
        return spg.min_max(spg.upsample(maps.detach(), self.output.image_size))


@dataclass(frozen=True)
class ScoreMap:
    """A way to localize.

    Attributes:
        compute: a look and one class an image -> (B, 1, Y, X) in [0, 1], each map min-max normalised.
        branches: what the network has to have, and to compute, beyond the class maps.
        per_class: whether the map depends on the class. B1, B2, C and fused do not.
        auto: whether `score_map=auto` tries it: the maps that come with SPG's forward, at no further cost.
        graph: "" if a forward is all it takes, "features" or "images" for a gradient by them.
    """

    compute: Callable[[ScoreMapContext, Classes], spg.Map]
    branches: tuple[str, ...] = ()
    per_class: bool = True
    auto: bool = False
    requires_grad: str = ""


def _own(
    of_output: Callable[[SPGOutput, Classes], spg.Map], branches: tuple[str, ...] = (), per_class: bool = False
) -> ScoreMap:
    return ScoreMap(lambda seen, classes: of_output(seen.output, classes), branches, per_class, auto=True)


SCORE_MAPS = {
    "attention": _own(spg.attention, per_class=True),
    "c": _own(spg.c, ("c",)),
    "fused": _own(spg.b1_and_b2, ("b1", "b2")),
    "b1": _own(spg.b1, ("b1",)),
    "b2": _own(spg.b2, ("b2",)),
    # A4 is a 1x1 convolution before the pooling: its maps are CAM's (Zhou et al., CVPR 2016), up to the bias, which min-max
    # normalisation takes away
    "cam": ScoreMap(lambda seen, classes: spg.attention(seen.output, classes)),
    "grad_cam": ScoreMap(lambda seen, classes: seen.extract("grad_cam", classes), requires_grad="features"),
    "grad_cam_plus_plus": ScoreMap(
        lambda seen, classes: seen.enlarge(grad_cam_plus_plus(*seen.features_and_gradient(classes))),
        requires_grad="features",
    ),
    "layer_cam": ScoreMap(lambda seen, classes: seen.extract("layer_cam", classes), requires_grad="features"),
    "score_cam": ScoreMap(lambda seen, classes: seen.extract("score_cam", classes)),
    "input_gradient": ScoreMap(
        lambda seen, classes: seen.enlarge(input_gradient(seen.image_gradient(classes))), requires_grad="images"
    ),
}


@contextmanager
def score_map_context(
    network: SPGNetwork, images: Float[Tensor, "B 3 Y X"], names: Iterable[str], layer: str = LAYER
) -> Iterator[ScoreMapContext]:
    """Run the network once; inside the `with`, any of the named score maps can be had for any classes.

    Score-CAM alone runs it again, once for each channel of the features and each map asked for.

    Args:
        network: in evaluation mode.
        images: normalised.
        names: the score maps that will be asked for.
        layer: the module whose output the CAM family weighs.
    """
    names = list(names)
    wanted = {SCORE_MAPS[name].requires_grad for name in names}
    scores = _Scores(network, branches_of(names))
    with ExitStack() as stack:
        stack.enter_context(eager(network))
        if wanted == {""} and not TORCHCAM.keys() & set(names):
            stack.enter_context(torch.no_grad())
        else:
            # Lightning evaluates in inference mode, whose tensors can never have gradients
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(_frozen_params(network))
            images = images.clone().requires_grad_("images" in wanted)
        kept: list[Tensor] = []
        hook = network.get_submodule(layer).register_forward_hook(lambda _, __, out: _keep(out, kept))
        stack.callback(hook.remove)
        extractors = {
            name: stack.enter_context(_extractor(name, scores, f"network.{layer}"))
            for name in names
            if name in TORCHCAM
        }
        logits = scores(images)
        features = kept.pop()
        hook.remove()
        for extractor in extractors.values():  # Score-CAM's own forwards are not to be seen, by the others or by itself
            extractor.remove_hooks()
        yield ScoreMapContext(_detached(scores.output), images, logits, features, extractors)


def _detached(output: SPGOutput) -> SPGOutput:
    parts: list[Any] = [part.detach() if isinstance(part, Tensor) else part for part in output]
    return SPGOutput(*parts)


@contextmanager
def _extractor(name: str, scores: nn.Module, layer: str) -> Iterator[Extractor]:
    extra = {"batch_size": MASKED_AT_ONCE} if name == "score_cam" else {}
    extractor = TORCHCAM[name](scores, layer, **extra)
    with extractor:
        yield extractor


def _keep(features: Tensor, kept: list[Tensor]) -> Tensor:
    """Let a graph begin at the features, where it has not begun at the images."""
    if torch.is_grad_enabled() and not features.requires_grad:
        features.requires_grad_()
    kept.append(features)
    return features


@contextmanager
def _frozen_params(network: nn.Module) -> Iterator[None]:
    """Take the weights out of the graph: no memory for gradients that nobody asks for."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_()


def branches_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the branches that these maps need, each once."""
    return tuple(dict.fromkeys(branch for name in names for branch in SCORE_MAPS[name].branches))


def supported(branches: tuple[str, ...]) -> list[str]:
    """Return the names of the score maps a network with these branches can give."""
    return [name for name, score_map in SCORE_MAPS.items() if set(score_map.branches) <= set(branches)]


def resolve(names: str | Sequence[str], branches: tuple[str, ...]) -> list[str]:
    """Turn the option `score_map` into names: "auto" means all that come with a forward, from which validation chooses.

    Raises:
        UserError: no such map, or this network does not have it.
    """
    there = supported(branches)
    if names == "auto":
        return [name for name in there if SCORE_MAPS[name].auto]
    listed = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    for name in listed:
        if name not in SCORE_MAPS:
            raise UserError(
                f"score_map={name} does not exist; choose from auto, {', '.join(SCORE_MAPS)}."
                f"{nearest(name, SCORE_MAPS)}"
            )
        if name not in there:
            raise UserError(f"score_map={name} needs branches this network lacks; it offers {', '.join(there)}")
    if not listed:
        raise UserError(f"score_map=[]: name at least one of auto, {', '.join(there)}")
    return listed
