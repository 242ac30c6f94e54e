"""The interface of score maps, and the one forward of a network on a batch that all of them are computed from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spg_lightning.score_maps.normalization import MinMax
from spg_lightning.score_maps.refinement import Refinement
from spg_lightning.score_maps.views import IDENTITY, View, Views, view_of
from spg_lightning.spg.maps import Map, upsample
from spg_lightning.spg.network import SPGNetwork, SPGOutput
from spg_lightning.utils.compile import eager

LAYER = "head_features"  # A4's input: the last features before the scores, as in the papers of the CAM family

NO_OUTPUT = SPGOutput(torch.zeros(0), torch.zeros(0), None, None, None, (0, 0))  # of a network that was not run

Classes = Int[Tensor, " B"]


class ScoreMap:
    """Base class of all score maps: a callable from one forward and one class an image to a map.

    Attributes:
        branches: outputs of the network that the map reads, beyond the class maps.
        per_class: whether the map depends on the class.
        requires_grad: "features" or "images" if the map needs the gradient of a logit by them, else "".
        auto: whether `score_map=auto` includes the map; for maps that cost nothing beyond the forward.
        uses_network: False for a map of the images alone.
        normalize: from any range to [0, 1], see `score_maps.normalization`; min-max is the paper's and the benchmark's.
        refinement: applied after `normalize`; None for none.
        views: whose mean is taken before `normalize`; None for the images alone.
    """

    branches: tuple[str, ...] = ()
    per_class: bool = True
    requires_grad: str = ""
    auto: bool = False
    uses_network: bool = True
    normalize: Callable[[Map], Map] = MinMax()
    refinement: Refinement | None = None
    views: Views | None = None

    def __call__(self, context: "ScoreMapContext", classes: Int[Tensor, " B"]) -> Float[Tensor, "B 1 Y X"]:
        """Return the map of each image's class at the size of the images, in any range."""
        raise NotImplementedError


@dataclass(frozen=True)
class ScoreMapContext:
    """The forward of a network on a batch of images. Valid inside its `score_map_context`.

    Attributes:
        network: in evaluation mode.
        images: (B, 3, Y, X), normalised.
        output: without a graph.
        layer: name of the module whose output `features` is.
        shared: what several maps compute from the images, by any key.
    """

    network: SPGNetwork
    images: Tensor
    output: SPGOutput
    layer: str
    _logits: Tensor
    _features: Tensor
    _maps: Mapping[str, ScoreMap]
    _open: Callable[[View], "ScoreMapContext"]
    shared: dict[Any, Any] = field(default_factory=dict)

    def map(self, name: str, classes: Classes) -> Map:
        """Return a score map of one class an image: (B, 1, Y, X) in [0, 1], normalised and refined."""
        score_map, classes = (
            self._maps[name],
            classes.clone(),
        )  # a graph cannot keep labels of Lightning's inference mode
        if score_map.views is None:
            return self.process(score_map, score_map(self, classes))
        size = (self.images.shape[-2], self.images.shape[-1])
        values = score_map.views.mean(lambda view: score_map(self.view(view), classes), size)
        return self.process(score_map, values)

    def view(self, view: View) -> "ScoreMapContext":
        """Return the context of a view of the images, which all maps share."""
        if view == IDENTITY:
            return self
        if view not in self.shared:
            self.shared[view] = self._open(view)
        found: ScoreMapContext = self.shared[view]
        return found

    def process(self, score_map: ScoreMap, values: Map) -> Map:
        """Return values of a score map with its normalisation and refinement."""
        values, refinement = score_map.normalize(values.detach()), score_map.refinement
        if refinement is None:
            return values
        if refinement not in self.shared:  # of the images alone: all maps share it
            self.shared[refinement] = refinement.guide(self.rgb.float())
        return refinement(values, self.shared[refinement])

    @property
    def rgb(self) -> Float[Tensor, "B 3 Y X"]:
        """The images in [0, 1]."""
        return self.network.stem.denormalize(self.images.detach())

    @property
    def features(self) -> Float[Tensor, "B C H W"]:
        """The features that the CAM family weights, without a graph."""
        return self._features.detach()

    def feature_gradient(self, classes: Classes) -> Float[Tensor, "B C H W"]:
        """Return the gradient of the classes' logits by the features."""
        return self._gradient(classes, self._features)

    def image_gradient(self, classes: Classes) -> Float[Tensor, "B 3 Y X"]:
        """Return the gradient of the classes' logits by the images."""
        return self._gradient(classes, self.images)

    def upsample(self, maps: Float[Tensor, "B 1 H W"]) -> Map:
        """Return maps at the size of the images."""
        return upsample(maps.detach(), (self.images.shape[-2], self.images.shape[-1]))

    def _gradient(self, classes: Classes, inputs: Tensor) -> Tensor:
        scores = self._logits.gather(1, classes[:, None]).sum()
        return torch.autograd.grad(scores, inputs, retain_graph=True)[0]  # the next class needs the graph


@contextmanager
def score_map_context(
    network: SPGNetwork,
    images: Float[Tensor, "B 3 Y X"],
    maps: Mapping[str, ScoreMap],
    layer: str = LAYER,
    needs_output: bool = True,
) -> Iterator[ScoreMapContext]:
    """Run the network once and yield a context that computes the given score maps for any classes.

    Args:
        network: in evaluation mode.
        images: normalised.
        maps: by name, see `resolve`.
        layer: the module whose output the CAM family weights.
        needs_output: False for the maps alone: the network is not run if none of them uses it.
    """
    plain = images.detach()
    needed = {score_map.requires_grad for score_map in maps.values()}
    branches = tuple(dict.fromkeys(branch for score_map in maps.values() for branch in score_map.branches))
    with ExitStack() as stack:

        def open_view(view: View) -> ScoreMapContext:
            viewed = score_map_context(network, view_of(plain, view), maps, layer, needs_output=False)
            return stack.enter_context(viewed)

        if not needs_output and not any(score_map.uses_network for score_map in maps.values()):
            none = images.new_zeros(0)
            yield ScoreMapContext(network, images, NO_OUTPUT, layer, none, none, maps, open_view)
            return
        stack.enter_context(eager(network))
        if needed <= {""}:
            stack.enter_context(torch.no_grad())
        else:
            # tensors made in Lightning's inference mode can never have gradients
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(_frozen_params(network))
            images = images.clone().requires_grad_("images" in needed)
        captured: list[Tensor] = []
        hook = network.get_submodule(layer).register_forward_hook(lambda _, __, out: _capture(out, captured))
        with hook:
            output = network(images.contiguous(memory_format=torch.channels_last), branches)
        yield ScoreMapContext(network, images, _detached(output), layer, output.logits, captured.pop(), maps, open_view)


def _detached(output: SPGOutput) -> SPGOutput:
    parts: list[Any] = [part.detach() if isinstance(part, Tensor) else part for part in output]
    return SPGOutput(*parts)


def _capture(features: Tensor, captured: list[Tensor]) -> Tensor:
    """Start a graph at the features unless it has started at the images."""
    if torch.is_grad_enabled() and not features.requires_grad:
        features.requires_grad_()
    captured.append(features)
    return features


@contextmanager
def _frozen_params(network: nn.Module) -> Iterator[None]:
    """Exclude the weights from the graph, which would take memory for unused gradients."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_()
