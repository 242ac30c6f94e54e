"""timm models as lists of feature levels. The only file that relies on timm's internals (tests/stems/test_timm_features.py)."""

from typing import Any

import timm
from torch import nn

from spg_lightning.errors import UserError, first_line
from spg_lightning.stems.weights import load_subset, read_state_dict

OUTPUT_STRIDE = 8  # 28 x 28 maps of a 224 x 224 image


def build_features(model: str, pretrained: bool, image_size: int, levels: tuple[int, ...] | None = None) -> Any:
    """Return the model as a list of feature levels, at stride 8 where it supports that and else at its own strides.

    Raises:
        UserError: the model has no feature maps, or its pretrained weights are not available.
    """
    options: dict[str, Any] = {"pretrained": pretrained, "features_only": True}
    if levels is not None:
        options["out_indices"] = levels
    for extra in ({"output_stride": OUTPUT_STRIDE}, {"img_size": image_size}, {}):
        try:
            return timm.create_model(model, **options, **extra)
        except (TypeError, AssertionError, NotImplementedError, ValueError) as error:
            refusal: Exception = error
        except (RuntimeError, OSError) as error:
            refusal = error
            if pretrained:
                raise UserError(
                    f"stem.weights=pretrained: timm's weights of {model} are not available ({first_line(error)}); set "
                    "stem.weights=<path of a state dict>, or stem.weights=none to train from scratch"
                ) from error
            break
    raise UserError(f"stem.name={model} has no feature maps ({first_line(refusal)})") from refusal


def feature_strides(features: Any) -> list[int]:
    """Return the stride of each feature level; of a transformer those of all its blocks."""
    strides = [int(stride) for stride in features.feature_info.reduction()]
    if len(set(strides)) == 1:  # by default timm selects a transformer's last blocks only
        strides = [int(stride) for stride in features.feature_info.reduction([*range(len(features.feature_info))])]
    return strides


def is_channels_last(features: nn.Module) -> bool:
    """Tell whether the model returns (B, H, W, C) features, as Swin transformers do."""
    return str(getattr(features, "output_fmt", "NCHW")).endswith("NHWC")


def load_features(features: nn.Module, path: str, model: str) -> None:
    """Load a state dict of the whole model. timm prefixes a cut model's names with `model.`, or joins them with underscores.

    Raises:
        UserError: the file cannot be read or lacks an entry of the cut model.
    """
    given = read_state_dict(path)
    by_plain_name = {name.replace(".", "_"): value for name, value in given.items()}
    renamed = {
        name: by_plain_name[plain]
        for name in features.state_dict()
        if (plain := name.removeprefix("model.").replace(".", "_")) in by_plain_name
    }
    load_subset(features, renamed, f"stem.weights={path}: not a state dict of timm's {model}")
