"""Any timm model with features at two depths: convolutional networks by their stages, transformers by their tokens."""

from collections.abc import Sequence

import timm
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from spg_lightning.errors import UserError, nearest
from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.timm_features import (
    OUTPUT_STRIDE,
    build_features,
    feature_strides,
    is_channels_last,
    load_features,
)

COARSEST_STRIDE = 16  # of A2


class TimmStem(Stem):
    """A timm model cut in two.

    Convolutional networks keep stride 8 by dilation where timm supports it. Others keep their own strides, and A2 is resized
    to A1's grid. Transformers give their token grid at two depths.

    Args:
        model: timm's name, with or without the tag of its weights.
        weights: "none", "pretrained" (downloaded by timm), or the path of a state dict of the whole model.
        image_size: side of the input; transformers with fixed position embeddings are built for it.
        a1_level, a2_level: index of the feature level. None for A1: the first at stride 8, or the middle one of a
            transformer. None for A2: the deepest at stride 16 or finer.

    Raises:
        UserError: an unknown model or level, a model without feature maps, or weights that are not available.
    """

    def __init__(self, model: str, weights: str, image_size: int, a1_level: int | None, a2_level: int | None) -> None:
        super().__init__()
        if not timm.is_model(model.split(".")[0]):
            raise UserError(
                f"stem.name={model} is not a model of timm {timm.__version__}.{nearest(model, timm.list_models())}"
            )
        self.input_size = image_size
        levels = choose_levels(feature_strides(build_features(model, False, image_size)), a1_level, a2_level, model)
        # built again without the layers behind A2
        self.backbone = build_features(model, weights == "pretrained", image_size, levels)
        if weights not in ("none", "pretrained"):
            load_features(self.backbone, weights, model)
        a1, a2 = (int(channels) for channels in self.backbone.feature_info.channels())
        self.channels = StemChannels(a1=a1, a2=a2, a2_penultimate=a2)
        config = timm.get_pretrained_cfg(model, allow_unregistered=True)
        self.mean = tuple(config.mean) if config is not None else (0.485, 0.456, 0.406)
        self.std = tuple(config.std) if config is not None else (0.229, 0.224, 0.225)
        # the scale of stages and token grids differs by orders of magnitude; new layers need unit scale
        self.a1_norm, self.a2_norm = nn.BatchNorm2d(a1), nn.BatchNorm2d(a2)
        self.channels_last = is_channels_last(self.backbone)

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return the features of the two levels. timm exposes no input of A2's last block: A2 replaces it."""
        a1, a2 = self.backbone(images)
        if self.channels_last:
            a1, a2 = a1.permute(0, 3, 1, 2), a2.permute(0, 3, 1, 2)
        a1, a2 = self.a1_norm(a1), self.a2_norm(a2)
        if a2.shape[-2:] != a1.shape[-2:]:
            a2 = F.interpolate(a2, size=a1.shape[-2:], mode="bilinear", align_corners=False)
        return StemFeatures(a1=a1, a2=a2, a2_penultimate=a2)

    def new_modules(self) -> Sequence[nn.Module]:
        """Return the normalisation layers behind the backbone's features."""
        return self.a1_norm, self.a2_norm


def choose_levels(strides: Sequence[int], a1: int | None, a2: int | None, model: str) -> tuple[int, int]:
    """Return the levels of A1 and A2 in a model with these strides.

    Raises:
        UserError: a level does not exist, A1 does not precede A2, or the model is too coarse.
    """
    available = ", ".join(f"{level} (stride {stride})" for level, stride in enumerate(strides))
    for name, level in (("a1", a1), ("a2", a2)):
        if level is not None and not 0 <= level < len(strides):
            raise UserError(f"stem.{name}_level={level} does not exist: {model} has {available}")
    is_transformer = len(set(strides)) == 1
    fine = [level for level, stride in enumerate(strides) if is_transformer or stride <= COARSEST_STRIDE]
    if len(fine) < 2:
        raise UserError(
            f"stem.name={model} has fewer than two feature levels at stride {COARSEST_STRIDE} or finer: {available}"
        )
    a2 = fine[-1] if a2 is None else a2
    if a1 is None:
        before = [level for level in fine if strides[level] <= OUTPUT_STRIDE and level < a2]
        if is_transformer or not before:
            a1 = a2 // 2
        else:  # the first at stride 8: deeper ones are dilated copies of coarser stages
            a1 = next((level for level in before if strides[level] == OUTPUT_STRIDE), before[-1])
    if a1 >= a2:
        raise UserError(f"stem.a1_level={a1} has to precede stem.a2_level={a2}: {model} has {available}")
    return a1, a2
