"""The exported program as a torch module: from RGB images to probabilities, classes, score maps and masks."""

import copy

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from spg_lightning.errors import UserError
from spg_lightning.exporting.convolution_pamr import ConvolutionPAMR
from spg_lightning.exporting.opencv_resize import resize
from spg_lightning.localizer import Localizer
from spg_lightning.score_maps.context import ScoreMap, score_map_context
from spg_lightning.score_maps.pamr import PAMR
from spg_lightning.score_maps.training_free import training_free_parts

INPUT = "images"
OUTPUTS = ("probabilities", "classes", "maps", "masks")
Outputs = tuple[
    Float[Tensor, "B K"], Int[Tensor, "B k"], Float[Tensor, "B m S S"], Bool[Tensor, "B m S S"]
]  # m: k, or 1 for a score map that serves all classes


class LocalizationProgram(nn.Module):
    """A localizer's whole computation up to the masks. Regions and boxes are left to the host.

    Args:
        localizer: of a checkpoint.
        top_k: number of classes.

    Raises:
        UserError: the score map needs gradients, or there are fewer classes.
    """

    def __init__(self, localizer: Localizer, top_k: int) -> None:
        super().__init__()
        name, num_classes = localizer.name, len(localizer.class_names)
        score_map = localizer.score_maps[name]
        if score_map.requires_grad:
            raise UserError(
                f"score_map={name} needs gradients, which an exported program cannot compute; choose another with its threshold, "
                "e.g. score_map=cam threshold=0.2"
            )
        if not 1 <= top_k <= num_classes:
            raise UserError(f"top_k={top_k}: choose 1 to {num_classes}, the number of the checkpoint's classes")
        assert localizer.crop is not None
        self.name, self.score_map, self.crop, self.top_k = name, _exportable(score_map), localizer.crop, top_k
        self.network = localizer.network
        self.classifiers = nn.ModuleList(part.classifier for _, part in training_free_parts(localizer.score_maps))
        # level of the threshold for each maximum of a map, as `ThresholdScan.levels` has it
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor([int(localizer.threshold * most) for most in range(256)]))

    def forward(self, images: UInt8[Tensor, "B Y X 3"]) -> Outputs:
        """Return probabilities of all classes, the most probable classes, their score maps in [0, 1], and their masks."""
        frames = resize(images.permute(0, 3, 1, 2), self.crop)
        inputs = self.network.stem.normalize(frames)
        with score_map_context(self.network, inputs, {self.name: self.score_map}) as context:
            probabilities = context.output.logits.float().softmax(1)
            classes = probabilities.topk(self.top_k, dim=1).indices
            count = self.top_k if self.score_map.per_class else 1
            maps = torch.cat([context.map(self.name, classes[:, k]).float().clamp(0, 1) for k in range(count)], 1)
        return probabilities, classes, maps, self.masks(maps)

    def masks(self, maps: Float[Tensor, "B m S S"]) -> Bool[Tensor, "B m S S"]:
        """Return which pixels lie above the threshold, see `find_regions`."""
        quantized = (maps * 255).to(torch.uint8).to(torch.int64)
        return quantized > self.levels[quantized.amax((2, 3))][:, :, None, None]


def _exportable(score_map: ScoreMap) -> ScoreMap:
    refinement = score_map.refinement
    if isinstance(refinement, PAMR):
        score_map = copy.copy(score_map)
        score_map.refinement = ConvolutionPAMR(refinement)
    return score_map
