"""A backbone with its ImageNet classifier, as pretrained: the source of the maps that need no training."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import Inception_V3_Weights, ResNet50_Weights, VGG16_Weights, WeightsEnum

from spg_lightning.errors import UserError, first_line
from spg_lightning.stems.efficientnet_lite0 import shipped_state_dict
from spg_lightning.stems.weights import load_subset, read_state_dict, torchvision_state_dict

OUTPUT_STRIDE = 16  # of the final features, where timm supports it
TORCHVISION: dict[str, type[WeightsEnum]] = {
    "inception_v3": Inception_V3_Weights,
    "resnet50": ResNet50_Weights,
    "vgg16": VGG16_Weights,
}


class PretrainedClassifier(nn.Module):
    """A timm model with the classifier that its weights have. Never trained.

    Args:
        model: timm's name.
        weights: as the stem's: "imagenet", "auto", an entry of torchvision's enum, "pretrained" (timm's), or the path of a
            state dict of the whole model.
        mean, std: of the input on the [0, 1] scale; None for timm's.

    Raises:
        UserError: `weights` is "none", or they cannot be had.
    """

    def __init__(self, model: str, weights: str, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        if weights == "none":
            raise UserError(
                "training-free maps and seeds need a pretrained backbone, and stem.weights=none has none; choose weights, "
                "stem=efficientnet_lite0 (its weights are installed), or maps and guidance that need none"
            )
        self.model = _create(model, pretrained=weights == "pretrained")
        if weights != "pretrained":
            load_subset(self.model, _state_dict(model, weights), f"stem.weights={weights}: not of the whole {model}")
        config = timm.get_pretrained_cfg(model, allow_unregistered=True)
        self.mean = tuple(mean if mean is not None else config.mean)
        self.std = tuple(std if std is not None else config.std)
        self.requires_grad_(False).eval()
        self.model.to(memory_format=torch.channels_last)  # a third faster on the CPU, with the same digits

    def train(self, mode: bool = True) -> "PretrainedClassifier":
        """Stay in evaluation mode."""
        return super().train(False)

    def features(self, rgb: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B D H W"]:
        """Return the final features of RGB images in [0, 1].

        Raises:
            UserError: the model has no feature maps.
        """
        mean, std = (rgb.new_tensor(values)[None, :, None, None] for values in (self.mean, self.std))
        inputs = ((rgb - mean) / std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.model.forward_features(inputs)
        if features.ndim != 4:
            raise UserError(f"training-free maps need feature maps, and {type(self.model).__name__} gives tokens")
        channels_first = features.shape[1] == self.model.num_features
        return features if channels_first else features.permute(0, 3, 1, 2)

    def classifier(self) -> nn.Linear:
        """Return the linear layer that classifies the pooled features.

        Raises:
            UserError: the model's head is another, so that it has no class activation maps.
        """
        head = self.model.get_classifier()
        if not isinstance(head, nn.Linear) or head.in_features != self.model.num_features:
            raise UserError(
                f"{type(self.model).__name__} does not classify its mean features by one linear layer, so it has no class "
                "activation maps; choose feature_norm or feature_pca"
            )
        return head


@lru_cache(maxsize=4)
def _shared(
    model: str, weights: str, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> PretrainedClassifier:
    return PretrainedClassifier(model, weights, mean, std)


def pretrained_classifier(
    model: str, weights: str, mean: Sequence[float] | None, std: Sequence[float] | None
) -> PretrainedClassifier:
    """Return a `PretrainedClassifier`, the same for the same arguments: all training-free maps share it.

    Leaves torch's random state as it is, so that a training does not depend on whether its seeds were cached.
    """
    with torch.random.fork_rng(devices=[]):
        return _shared(model, weights, mean and tuple(mean), std and tuple(std))


def _create(model: str, pretrained: bool) -> Any:
    for options in ({"output_stride": OUTPUT_STRIDE}, {}):
        try:
            return timm.create_model(model, pretrained=pretrained, **options)
        except (TypeError, NotImplementedError, AssertionError):
            continue  # the model has no dilated form
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"stem.weights=pretrained: timm's weights of {model} are not available ({first_line(error)})"
            ) from error
    raise UserError(f"timm cannot create {model}")


def _state_dict(model: str, weights: str) -> dict[str, Tensor]:
    if model == "tf_efficientnet_lite0" and weights == "imagenet":
        return shipped_state_dict()
    enum = TORCHVISION.get(model)
    if enum is None or (weights not in ("auto", "imagenet") and weights not in enum.__members__):
        return _timm_names(model, read_state_dict(weights))
    entry = enum["IMAGENET1K_V1"] if weights in ("auto", "imagenet") else enum[weights]
    return _timm_names(model, torchvision_state_dict(entry))


def _timm_names(model: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return torchvision's weights of VGG16 under timm's names; others have the same names."""
    if model != "vgg16" or "classifier.6.weight" not in weights:
        return weights
    named = {name: value for name, value in weights.items() if name.startswith("features.")}
    for layer, name, side in (("classifier.0", "pre_logits.fc1", 7), ("classifier.3", "pre_logits.fc2", 1)):
        weight = weights[f"{layer}.weight"]
        named |= {f"{name}.weight": weight.view(len(weight), -1, side, side), f"{name}.bias": weights[f"{layer}.bias"]}
    return named | {f"head.fc.{kind}": weights[f"classifier.6.{kind}"] for kind in ("weight", "bias")}


def resize(rgb: Float[Tensor, "B 3 Y X"], side: int) -> Float[Tensor, "B 3 S S"]:
    """Return images at the size that the classifier sees."""
    return F.interpolate(rgb, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
