"""Maps of the object at input resolution, from the network's output: attention (paper section 3.1) and the branches' foregrounds."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from spg_lightning.spg.network import SPGOutput, at_least_float32

Map = Float[Tensor, "B 1 Y X"]


def upsample(maps: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C Y X"]:
    """Resize maps bilinearly (align_corners=False) to `size`, in at least float32."""
    return F.interpolate(maps.to(at_least_float32(maps)), size=size, mode="bilinear", align_corners=False)


def min_max(maps: Map) -> Map:
    """Shift and scale each map of the batch to [0, 1]; a constant map becomes 0."""
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def class_map(output: SPGOutput, labels: Int[Tensor, " B"]) -> Float[Tensor, "B 1 H W"]:
    """Return A4's map of one class an image. Only this map is ever upsampled, never all K."""
    rows = torch.arange(labels.shape[0], device=labels.device)  # len() would fix the batch size of an exported program
    return output.class_maps[rows, labels].unsqueeze(1)


def attention(output: SPGOutput, labels: Int[Tensor, " B"]) -> Map:
    """Return the attention map O in [0, 1]: the class's map upsampled, then min-max normalised; no ReLU."""
    return min_max(upsample(class_map(output, labels), output.image_size))


def foreground(logits: Float[Tensor, "B 1 H W"], size: tuple[int, int]) -> Map:
    """Return a branch's foreground probability at `size`: upsampled logits through the sigmoid."""
    return upsample(logits, size).sigmoid()


def fused(b1: Map, b2: Map) -> Map:
    """Return the mean of B1's and B2's foreground probabilities, which supervises C (paper section 3.2)."""
    return (b1 + b2) / 2
