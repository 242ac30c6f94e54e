"""The loss of SPG (paper section 3.2): cross-entropy of the classes, and of B2, B1 and C with their masks."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int, Int8
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from spg_lightning.errors import UserError
from spg_lightning.spg.guidance import FOREGROUND, IGNORED, Thresholds, cascade
from spg_lightning.spg.maps import attention, upsample
from spg_lightning.spg.network import SPGOutput, at_least_float32

Guidance = Callable[..., dict[str, Tensor]]
AnyThresholds = Thresholds | Mapping[str, Mapping[str, float]] | Sequence[Sequence[float]]
TERMS = ("cls", "b2", "b1", "c")


def masked_bce(logits: Float[Tensor, "B 1 Y X"], mask: Int8[Tensor, "B 1 Y X"]) -> Float[Tensor, ""]:
    """Return the binary cross-entropy of foreground logits, mean over all pixels of the batch that are not ignored.

    Zero, with zero gradient, if every pixel is ignored. Over several processes it is the mean over all their pixels, so that
    the average of their gradients is the gradient of the whole batch.
    """
    valid = (mask != IGNORED).to(logits.dtype)
    target = (mask == FOREGROUND).to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, target, weight=valid, reduction="sum")
    return total / _global_mean_count(valid)


class _UpsampledBCE(torch.autograd.Function):
    """`masked_bce` of upsampled logits. Computes the gradient in `forward` and saves only that.

    Autograd would save three tensors at input resolution per branch (logits, targets, weights): for a map of 28 x 28 in an
    image of 224 x 224, 192 times as much memory.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, mask: Tensor) -> Tensor:
        with torch.enable_grad():
            own = logits.detach().to(at_least_float32(logits)).requires_grad_()
            loss = masked_bce(upsample(own, (mask.shape[-2], mask.shape[-1])), mask)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(*torch.autograd.grad(loss, own))
            ctx.dtype = logits.dtype
        return loss.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (own,) = ctx.saved_tensors
        return (own * gradient).to(ctx.dtype), None


def upsampled_bce(logits: Float[Tensor, "B 1 H W"], mask: Int8[Tensor, "B 1 Y X"]) -> Float[Tensor, ""]:
    """Return `masked_bce` of logits upsampled to the mask's size, without saving tensors of that size for the backward."""
    loss: Tensor = _UpsampledBCE.apply(logits, mask)
    return loss


def _global_mean_count(valid: Float[Tensor, "B 1 Y X"]) -> Float[Tensor, ""]:
    """Return the number of valid pixels, averaged over the processes; at least 1 over all of them."""
    count, processes = valid.sum(), 1
    if dist.is_available() and dist.is_initialized() and not count.is_meta:  # meta tensors only count operations
        dist.all_reduce(count)
        processes = dist.get_world_size()
    return count.clamp_min(1) / processes


def guidance_masks(
    output: SPGOutput,
    labels: Int[Tensor, " B"],
    thresholds: AnyThresholds,
    guidance: Guidance = cascade,
    seeds: Int8[Tensor, "B 1 Y X"] | None = None,
) -> dict[str, Int8[Tensor, "B 1 Y X"]]:
    """Return the masks that supervise this output's branches, at input resolution; empty for SPG-plain.

    Args:
        output, labels, thresholds, guidance: see `spg_loss`.
        seeds: given to the guidance as `seeds`, if there are any.
    """
    if output.b1 is None or output.b2 is None:
        return {}
    extra = {} if seeds is None else {"seeds": seeds}
    with torch.no_grad():
        masks = guidance(
            attention(output, labels),
            upsample(output.b1, output.image_size).sigmoid(),
            upsample(output.b2, output.image_size).sigmoid(),
            Thresholds.of(thresholds),
            **extra,
        )
    return {name: mask for name, mask in masks.items() if getattr(output, name) is not None}


def spg_loss(
    output: SPGOutput,
    labels: Int[Tensor, " B"],
    thresholds: AnyThresholds,
    guidance: Guidance = cascade,
    weights: Mapping[str, float] | None = None,
    seeds: Int8[Tensor, "B 1 Y X"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return the terms of the loss and `total`, their weighted sum. The terms themselves are not weighted.

    Args:
        output: the network's, with the branches to train.
        labels: (B,) class indices.
        thresholds: of the masks for B2, B1 and C.
        guidance: maps -> the mask of each branch: `cascade`, `direct` or any callable like them.
        weights: term -> its factor in `total`; 1 for a term without an entry.
        seeds: masks from outside, for a guidance that takes them, as `seeded` does.

    Returns:
        `cls`, `b2`, `b1`, `c` (those the output has) and `total`, scalars.

    Raises:
        UserError: the guidance returned no mask for any branch.
    """
    weights = weights or {}
    terms = {"cls": F.cross_entropy(output.logits.to(at_least_float32(output.logits)), labels)}
    masks = guidance_masks(output, labels, thresholds, guidance, seeds)
    if output.b1 is not None and not masks:
        raise UserError("no mask supervises any branch: the guidance returned none; guidance=seeded needs its seeds")
    for name, mask in masks.items():
        terms[name] = upsampled_bce(getattr(output, name), mask)
    weighted = [weights.get(name, 1.0) * term for name, term in terms.items()]
    return {**terms, "total": torch.stack(weighted).sum()}


class SPGLoss:
    """`spg_loss` with its thresholds, guidance and weights.

    Args:
        thresholds, guidance: see `spg_loss`.
        weights: of `cls`, `b2`, `b1` and `c` in `total`; the paper's are 1.

    Raises:
        UserError: impossible thresholds, an unknown term, or a weight that is negative or not finite.
    """

    def __init__(self, thresholds: AnyThresholds, guidance: Guidance, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            if name not in TERMS:
                raise UserError(f"loss.weights.{name} does not exist; choose from {', '.join(TERMS)}")
            if not 0 <= weight < math.inf:
                raise UserError(f"loss.weights.{name}={weight}: choose a finite number, 0 or more")
        self.thresholds, self.guidance, self.weights = Thresholds.of(thresholds), guidance, dict(weights)

    def __call__(self, output: SPGOutput, labels: Int[Tensor, " B"], **seeds: Tensor) -> dict[str, Float[Tensor, ""]]:
        """Return the terms and `total`; with `seeds=` masks from outside."""
        return spg_loss(output, labels, self.thresholds, self.guidance, self.weights, **seeds)

    def masks(
        self, output: SPGOutput, labels: Int[Tensor, " B"], **seeds: Tensor
    ) -> dict[str, Int8[Tensor, "B 1 Y X"]]:
        """Return the masks that supervise this output's branches."""
        return guidance_masks(output, labels, self.thresholds, self.guidance, **seeds)


def masks_from_loss(
    loss: Callable[..., dict[str, Tensor]], output: SPGOutput, labels: Int[Tensor, " B"], **seeds: Tensor
) -> dict[str, Int8[Tensor, "B 1 Y X"]]:
    """Return the masks of a loss that has them, as `SPGLoss` does; of any other loss none."""
    masks = getattr(loss, "masks", None)
    return masks(output, labels, **seeds) if masks else {}
