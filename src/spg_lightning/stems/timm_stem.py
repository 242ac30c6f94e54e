"""Any timm model that gives features at two depths: convolutional networks by their stages, transformers by their tokens."""

from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from spg_lightning.errors import UserError, first_line, nearest
from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.weights import load_subset, read_state_dict

WANTED_STRIDE = 8  # 28 x 28 maps of a 224 x 224 image
DEEPEST_STRIDE = 16  # deeper features are taken only where they can be kept at this stride or denser


class TimmStem(Stem):
    """A timm model cut in two.

    Convolutional networks are asked to keep stride 8 (dilated behind it); those that cannot keep their own strides, and A2
    is resized to A1's grid. Transformers give their token grid at two depths.

    Args:
        model: timm's name, without or with the tag of its weights.
        weights: "none", "pretrained" (timm's, downloaded), or the path of a state dict of the whole model.
        image_size: side of the input; transformers with fixed position embeddings are built for it.
        a1_level, a2_level: which of the model's feature levels; None: A1 the last one at stride 8, or the one in the middle
            of a transformer, A2 the deepest that is not coarser than stride 16.

    Raises:
        UserError: no such model or level, a model without feature maps, or weights that cannot be had.
    """

    def __init__(self, model: str, weights: str, image_size: int, a1_level: int | None, a2_level: int | None) -> None:
        super().__init__()
        if not timm.is_model(model.split(".")[0]):
            raise UserError(
                f"stem.name={model} is no model of timm {timm.__version__}.{nearest(model, timm.list_models())}"
            )
        whole = _build(model, False, image_size)
        strides = [int(stride) for stride in whole.feature_info.reduction()]
        blocks = getattr(getattr(whole, "model", None), "blocks", None)
        if len(set(strides)) == 1 and blocks is not None:
            strides = strides[:1] * len(blocks)  # timm lists a transformer's last blocks alone
        levels = _levels(strides, a1_level, a2_level, model)
        # built again without what lies behind A2
        self.backbone = _build(model, weights == "pretrained", image_size, levels)
        if weights not in ("none", "pretrained"):
            _load(self.backbone, weights, model)
        channels = [int(c) for c in self.backbone.feature_info.channels()]
        self.channels = StemChannels(a1=channels[0], a2=channels[1], a2_penultimate=channels[1])
        config = timm.get_pretrained_cfg(model, allow_unregistered=True)
        self.mean = tuple(config.mean) if config is not None else (0.485, 0.456, 0.406)
        self.std = tuple(config.std) if config is not None else (0.229, 0.224, 0.225)
        # features of stages and token grids differ in scale by orders of magnitude; new layers want unit scale
        self.a1_norm, self.a2_norm = nn.BatchNorm2d(channels[0]), nn.BatchNorm2d(channels[1])
        self.channels_last = _gives_channels_last(self.backbone)

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return the features of the two levels; timm offers none before A2's last block, so that A2 stands for it."""
        a1, a2 = self.backbone(images)
        if self.channels_last:
            a1, a2 = a1.permute(0, 3, 1, 2), a2.permute(0, 3, 1, 2)
        a1, a2 = self.a1_norm(a1), self.a2_norm(a2)
        if a2.shape[-2:] != a1.shape[-2:]:
            a2 = F.interpolate(a2, size=a1.shape[-2:], mode="bilinear", align_corners=False)
        return StemFeatures(a1=a1, a2=a2, a2_penultimate=a2)

    def a1_modules(self) -> list[nn.Module]:
        """Refuse: timm's models do not say which of their parts lie before a level."""
        raise UserError("module.freeze=a1 is not offered for stem=timm; use module.freeze=none")


def _build(model: str, pretrained: bool, image_size: int, levels: tuple[int, ...] | None = None) -> Any:
    """Return the model as a list of feature levels, at the smallest stride it can keep."""
    options: dict[str, Any] = {"pretrained": pretrained, "features_only": True}
    if levels is not None:
        options["out_indices"] = levels
    refusals = []
    for extra in ({"output_stride": WANTED_STRIDE}, {"img_size": image_size}, {}):
        try:
            return timm.create_model(model, **options, **extra)
        except (TypeError, AssertionError, NotImplementedError, ValueError) as error:
            refusals.append(error)
        except (RuntimeError, OSError) as error:
            if pretrained:
                raise UserError(
                    f"stem.weights=pretrained: timm's weights of {model} cannot be had ({first_line(error)}); give a file, "
                    "stem.weights=<path>, or stem.weights=none to train from scratch"
                ) from error
            raise UserError(f"stem.name={model} gives no feature maps ({first_line(error)})") from error
    raise UserError(f"stem.name={model} gives no feature maps ({first_line(refusals[-1])})")


def _levels(strides: list[int], a1: int | None, a2: int | None, model: str) -> tuple[int, int]:
    listed = ", ".join(f"{i} (stride {s})" for i, s in enumerate(strides))
    for name, level in (("a1", a1), ("a2", a2)):
        if level is not None and not 0 <= level < len(strides):
            raise UserError(f"stem.{name}_level={level} does not exist: {model} has {listed}")
    same = len(set(strides)) == 1  # a transformer: depth is all that tells its levels apart
    fine = [i for i, stride in enumerate(strides) if same or stride <= DEEPEST_STRIDE]
    if len(fine) < 2:
        raise UserError(
            f"stem.name={model} has fewer than two feature levels at stride {DEEPEST_STRIDE} or finer: {listed}"
        )
    if a2 is None:
        a2 = fine[-1]
    if a1 is None:
        at_wanted = [i for i in fine if strides[i] <= WANTED_STRIDE and i < a2]
        # of levels kept at stride 8 the first that reaches it: the deeper ones are dilated copies of coarser stages
        a1 = (
            a2 // 2
            if same or not at_wanted
            else next((i for i in at_wanted if strides[i] == WANTED_STRIDE), at_wanted[-1])
        )
    if a1 >= a2:
        raise UserError(f"stem.a1_level={a1} has to lie before stem.a2_level={a2}: {model} has {listed}")
    return a1, a2


def _gives_channels_last(backbone: nn.Module) -> bool:
    return getattr(backbone, "output_fmt", None) is not None and str(backbone.output_fmt) in ("Format.NHWC", "NHWC")


def _load(backbone: nn.Module, path: str, model: str) -> None:
    """Load what the cut model has from a state dict of the whole model; every one of its entries has to be there."""
    given = read_state_dict(path)
    own = backbone.state_dict()
    # a cut model puts `model.` before the names, or writes dots as underscores
    renamed = {**given, **{f"model.{k}": v for k, v in given.items()}}
    for name in own:
        if name not in renamed:
            match = next((k for k in given if k.replace(".", "_") == name.replace(".", "_")), None)
            if match is not None:
                renamed[name] = given[match]
    load_subset(backbone, renamed, f"stem.weights={path}: not a state dict of timm's {model}")
