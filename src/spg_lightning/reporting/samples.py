"""What there is to show of a photo: what the network saw, what taught its branches, and the box it drew."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int8, UInt8

from spg_lightning.data.photos import Sample
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import box_in_photo, scan_thresholds
from spg_lightning.module import Loss
from spg_lightning.score_maps.context import resolve, score_map_context
from spg_lightning.spg.losses import masks_from_loss
from spg_lightning.spg.network import SPGNetwork

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class SampleView:
    """One test photo, as the network sees it.

    Attributes:
        index: in the records of the test part. image: its id. label, predicted: names of classes.
        photo: of the network's input size; boxes are in its pixels, x0 y0 x1 y1.
        truth: ground-truth boxes. box: of the score map at the threshold. iou: its best with any of `truth`.
        attention: of the label, in [0, 1].
        masks: the ternary mask that teaches each branch; empty without guidance.
        name: of the score map that is localized with. score_map: its values, in [0, 1].
    """

    index: int
    image: str
    label: str
    predicted: str
    photo: UInt8[np.ndarray, "Y X 3"]
    truth: list[Box]
    box: Box
    iou: float
    attention: Float[np.ndarray, "Y X"]
    masks: dict[str, Int8[np.ndarray, "Y X"]]
    name: str
    score_map: Float[np.ndarray, "Y X"]


def evenly_spaced_indices(count: int, wanted: int) -> list[int]:
    """Return `wanted` indices spread evenly over 0 .. count - 1: the same photos for every run on a data set."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


def collect_views(
    network: SPGNetwork, data: ImageDataModule, loss: Loss | None, score_map: str, threshold: float, count: int
) -> list[SampleView]:
    """Return `count` test photos, spread over the test part; those that cannot be read are left out.

    Args:
        network, data: of the run.
        loss: whose thresholds and guidance make the masks; None, or a loss without them: no masks.
        score_map, threshold: what is localized with.
        count: how many.
    """
    was_training = network.training
    network.eval()
    dataset, found = data.dataset("test"), []
    for index in evenly_spaced_indices(len(dataset), count):
        try:
            sample = dataset[index]
        except UserError:
            continue
        if sample is not None:
            found.append(_view(network, data, loss, score_map, threshold, index, sample))
    network.train(was_training)
    return found


def _view(
    network: SPGNetwork,
    data: ImageDataModule,
    loss: Loss | None,
    score_map: str,
    threshold: float,
    index: int,
    sample: Sample,
) -> SampleView:
    records, device = data.records["test"], next(network.parameters()).device
    label = torch.tensor([sample["label"]], device=device)
    image = network.stem.normalize(sample["image"][None].to(device))
    # all branches, for the masks that teach them
    with score_map_context(network, image, {*resolve("auto", network.branches), score_map}) as seen:
        output = seen.output
        attention, values = (seen.map(name, label)[0, 0].cpu().numpy() for name in ("attention", score_map))
    truth = data.ground_truth("test", [index])[0]
    inside, iou = scan_thresholds(values, truth).box_at(threshold)
    masks = {} if loss is None else masks_from_loss(loss, output, label)
    return SampleView(
        index=index,
        image=records.image_id(index),
        label=records.class_names[sample["label"]],
        predicted=records.class_names[int(output.logits.argmax())],
        photo=sample["image"].permute(1, 2, 0).numpy(),
        truth=[_box(box) for box in truth],
        box=_box(box_in_photo(inside, data.frame, data.frame)),
        iou=iou,
        attention=attention,
        masks={name: mask[0, 0].cpu().numpy() for name, mask in masks.items()},
        name=score_map,
        score_map=values,
    )


def _box(corners: Iterable[float]) -> Box:
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    return x0, y0, x1, y1
