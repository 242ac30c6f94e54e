"""Test images as a report shows them: the input, the masks that supervise the branches, the score map and its box."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int8, UInt8

from spg_lightning.data.images import Sample
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.localization.regions import Box
from spg_lightning.localization.threshold_scan import box_in_photo, scan_thresholds
from spg_lightning.localizer import Localizer
from spg_lightning.reporting.overlay import resize_down
from spg_lightning.score_maps.registry import resolve
from spg_lightning.spg.losses import masks_from_loss
from spg_lightning.spg.training_step import Loss

PHOTO_SIDE = 320  # pixels of a photo's longer side, at most


@dataclass(frozen=True)
class SampleView:
    """One test image.

    Attributes:
        index: in the records of the test split.
        image: its id.
        label, predicted: names of classes.
        photo: in its own proportions, `PHOTO_SIDE` pixels at most; boxes are in its pixels, x0 y0 x1 y1.
        truth: ground-truth boxes.
        box: of the score map at the threshold.
        iou: its best with any of `truth`.
        attention: of the label, in [0, 1], as all maps and masks at the network's input size.
        masks: the ternary mask that supervises each branch; empty without guidance.
        name: of the score map that localizes.
        score_map: its values, in [0, 1].
        threshold: fraction of the score map's maximum where its box and mask begin.
        true_mask: 1 object, 0 background, -1 ignored; None without one.
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
    threshold: float
    true_mask: Int8[np.ndarray, "Y X"] | None

    @property
    def has_truth(self) -> bool:
        """Whether a box or a mask is known."""
        return bool(self.truth) or self.true_mask is not None

    @property
    def level(self) -> float:
        """The value of the score map where the mask begins."""
        return self.threshold * float(self.score_map.max())

    @property
    def mask_iou(self) -> float:
        """IoU of the score map's and the true mask, without the ignored pixels; NaN without a true mask."""
        if self.true_mask is None:
            return float("nan")
        counted = self.true_mask >= 0
        predicted, true = (self.score_map >= self.level) & counted, self.true_mask == 1
        return float((predicted & true).sum() / max((predicted | true).sum(), 1))


def evenly_spaced_indices(count: int, wanted: int) -> list[int]:
    """Return `wanted` indices spread evenly over 0 .. count - 1: the same images for every run on a data set."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


def collect_views(localizer: Localizer, data: ImageDataModule, loss: Loss | None, count: int) -> list[SampleView]:
    """Return up to `count` images spread over the test split, without those that cannot be read.

    Args:
        localizer: its network, score map and threshold.
        data: of the run.
        loss: its thresholds and guidance make the masks; None, or a loss without them: no masks.
        count: how many.
    """
    network, views = localizer.network, []
    was_training = network.training
    network.eval()
    dataset = data.dataset("test")
    for index in evenly_spaced_indices(len(dataset), count):
        try:
            sample = dataset[index]
        except UserError:
            continue
        if sample is not None:
            views.append(_view(localizer, data, loss, sample))
    network.train(was_training)
    return views


def _view(localizer: Localizer, data: ImageDataModule, loss: Loss | None, sample: Sample) -> SampleView:
    network, records, index = localizer.network, data.records["test"], sample["index"]
    label = torch.tensor([sample["label"]], device=localizer.device)
    # all branches, for the masks that supervise them
    maps = {**resolve("auto", network.branches), localizer.name: localizer.score_maps[localizer.name]}
    with Localizer(network, maps).context(sample["image"][None]) as context:
        output = context.output
        attention, values = (context.map(name, label)[0, 0].cpu().numpy() for name in ("attention", localizer.name))
    inside, iou = scan_thresholds(values, sample["true_boxes"]).box_at(localizer.threshold)
    photo = resize_down(data.dataset("test").source(index), PHOTO_SIDE)
    size = (photo.shape[1], photo.shape[0])
    truth = records.boxes_of(index) * (np.tile(size, 2) / np.tile(records.sizes[index], 2))
    masks = {} if loss is None else masks_from_loss(loss, output, label)
    return SampleView(
        index=index,
        image=records.images[index],
        label=records.class_names[sample["label"]],
        predicted=records.class_names[int(output.logits.argmax())],
        photo=photo,
        truth=[_box(box) for box in truth],
        box=box_in_photo(inside, data.frame, size),
        iou=iou,
        attention=attention,
        masks={name: mask[0, 0].cpu().numpy() for name, mask in masks.items()},
        name=localizer.name,
        score_map=values,
        threshold=localizer.threshold,
        true_mask=None if sample["mask"] is None else sample["mask"].numpy(),
    )


def _box(corners: Iterable[float]) -> Box:
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    return x0, y0, x1, y1
