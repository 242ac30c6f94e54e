"""Insertion and deletion: a class's probability while a score map's pixels appear or vanish (Petsiuk et al., RISE, BMVC 2018)."""

import logging
from collections.abc import Callable
from time import perf_counter

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from spg_lightning.data.images import batches
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.localizer import Localizer
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.utils.durations import duration

log = logging.getLogger(__name__)
KERNEL, SIGMA = 11, 5.0  # of the blurred image that insertion starts from, in pixels; RISE's for 224 x 224
BATCH = 16  # images


def probability_curve(
    probability: Callable[[Float[Tensor, "B 3 Y X"]], Float[Tensor, " B"]],
    start: Float[Tensor, "B 3 Y X"],
    end: Float[Tensor, "B 3 Y X"],
    maps: Float[Tensor, "B Y X"],
    steps: int,
) -> Float[Tensor, "B n"]:
    """Replace the pixels of `start` by those of `end`, the highest of the map first.

    Args:
        probability: images -> probability of each image's class.
        start, end: images before and after.
        maps: of the same size. Equal pixels are taken row by row.
        steps: n - 1; each replaces as many pixels, the last one what is left.

    Returns:
        The probability at the start and after each step.
    """
    count = start.shape[-2] * start.shape[-1]
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).reshape(maps.shape)
    share = -(-count // steps)
    return torch.stack(
        [probability(torch.where((rank < share * step)[:, None], end, start)) for step in range(steps + 1)], dim=1
    )


def area(curve: Float[Tensor, "B n"]) -> Float[Tensor, " B"]:
    """Return the area under each curve over the fraction of replaced pixels, in [0, 1]."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1), dim=1)


def start_and_end(inputs: Float[Tensor, "B 3 Y X"]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the normalised images that each measure starts from and ends with.

    Insertion sharpens a blurred image; deletion leaves the mean colour of the stem's normalisation, which is 0.
    """
    blurred = gaussian_blur(inputs, [KERNEL, KERNEL], [SIGMA, SIGMA])
    return {"insertion": (blurred, inputs), "deletion": (inputs, torch.zeros_like(inputs))}


@torch.no_grad()
def insertion_and_deletion(localizer: Localizer, data: ImageDataModule, steps: int) -> dict[str, float]:
    """Return the mean areas over the test images, in percent, for the map of each image's label.

    A good map has a high `insertion`, as few pixels are enough, and a low `deletion`.

    Args:
        localizer: its network is in evaluation mode, on its device.
        data: set up.
        steps: see `probability_curve`; an image takes 2 x (steps + 1) forwards.
    """
    total, count, began = {"insertion": 0.0, "deletion": 0.0}, 0, perf_counter()
    for batch in batches(data.dataset("test"), BATCH):
        labels = torch.as_tensor(batch["label"]).to(localizer.device)
        maps = torch.from_numpy(localizer.maps(batch["image"], labels.tolist())).to(localizer.device)
        inputs = localizer.network.stem.normalize(batch["image"].to(localizer.device))
        probability = class_probability(localizer.network, labels)
        for name, (start, end) in start_and_end(inputs).items():
            total[name] += float(area(probability_curve(probability, start, end, maps, steps)).double().sum())
        if not count and len(data.dataset("test")) > 4 * len(labels):
            left = (perf_counter() - began) * (len(data.dataset("test")) / len(labels) - 1)
            log.info("insertion and deletion in %d steps: about %s", steps, duration(left))
        count += len(labels)
    return {name: 100 * value / max(count, 1) for name, value in total.items()}


def class_probability(network: SPGNetwork, labels: Int[Tensor, " B"]) -> Callable[[Tensor], Tensor]:
    """Return normalised images (B, 3, Y, X) -> the probability of each one's class; the network is in evaluation mode."""
    return lambda inputs: network(inputs, ()).logits.float().softmax(1).gather(1, labels[:, None])[:, 0]
