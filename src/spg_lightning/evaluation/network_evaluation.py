"""Evaluate a trained network on val and test, as training and `evaluate` do."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytorch_lightning as pl

from spg_lightning.data.predictions import OTHER
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.evaluation.cached_maps import TrainingFreeMaps
from spg_lightning.evaluation.results import (
    Evaluation,
    ImageResult,
    choice_error,
    compute_evaluation,
    image_results,
    select_score_map,
)
from spg_lightning.localization.metrics import summarize
from spg_lightning.localizer import Localizer
from spg_lightning.module import SPGModule
from spg_lightning.reporting.run_page import Picture
from spg_lightning.spg.network import SPGNetwork

log = logging.getLogger(__name__)


def evaluate_module(
    trainer: pl.Trainer,
    module: SPGModule,
    data: ImageDataModule,
    training_free: TrainingFreeMaps | None = None,
    image_rows: str = "chosen",
) -> Evaluation:
    """Run val and test once each, for all score maps of the module.

    Args:
        trainer, module, data: of the run.
        training_free: measured beside the naive baselines; None for a backbone without pretrained weights.
        image_rows: "chosen" keeps the results by image of the chosen map on test, "all" those of every map on val and test.
    """
    module.recorded_maps = tuple(module.metrics) if image_rows == "all" else ()
    trainer.validate(module, datamodule=data, verbose=False)
    if image_rows != "all":
        module.recorded_maps = (select_score_map(module.curves["val"]),)
    trainer.test(module, datamodule=data, verbose=False)
    truth = {
        split: data.ground_truth(split, list(range(len(data.records[split]))))
        for split in ("val", "test")
        if len(data.records[split].boxes)
    }
    if not len(data.records["test"].boxes) and not data.records["test"].masks:
        log.warning("the test images have neither boxes nor masks: localization is not measured")
    evaluation = compute_evaluation(module.curves["test"], module.curves["val"], truth, data.frame)
    images = _image_results(module, data, "test", evaluation.score_map, evaluation.threshold)
    others = [
        (split, name)
        for split in ("test", "val")
        for name in module.outputs[split].scans
        if (split, name) != ("test", evaluation.score_map)
    ]
    more = [
        row for split, name in others for row in _image_results(module, data, split, name, evaluation.thresholds[name])
    ]
    floors = evaluation.naive_baselines | _training_free_floor(trainer, module, data, training_free)
    return replace(
        evaluation, images=images, more_images=tuple(more), pseudo_boxes=data.pseudo_boxes, naive_baselines=floors
    )


def _image_results(
    module: SPGModule, data: ImageDataModule, split: str, name: str, threshold: float
) -> tuple[ImageResult, ...]:
    """Return the results by image of a recorded score map."""
    records, outputs, names = data.records[split], module.outputs[split], data.class_names
    if split == "val" and data.pseudo_boxes:  # which are no ground truth
        records = replace(records, boxes=records.boxes[:0], box_offsets=np.zeros_like(records.box_offsets))
    predicted = {i: "(another)" if label == OTHER else names[label] for i, label in outputs.predicted.items()}
    scans = outputs.scans[name]
    frames = dict.fromkeys(scans, data.frame)
    return image_results(split, name, records, scans, predicted, outputs.scores, frames, threshold)


def _training_free_floor(
    trainer: pl.Trainer, module: SPGModule, data: ImageDataModule, maps: TrainingFreeMaps | None
) -> dict[str, float]:
    """Return the metrics of the training-free map on test, at its threshold from val, as "test/floor_training_free_..."."""
    test = next(iter(module.curves["test"].values()))
    if maps is None or choice_error(test) is None:
        return {}
    network = module.network.to(trainer.strategy.root_device)
    try:
        counts = {}
        for split in ("val", "test"):
            files = maps.compute(network, data, split, trainer.global_rank, trainer.world_size)
            trainer.strategy.barrier()
            counts[split] = maps.counts(files, data, split, len(test.thresholds), test.choose_by)
    except UserError as error:  # the run itself is finished, and must not be lost
        log.warning("no training-free baseline: %s", error)
        return {}
    numbers = summarize(counts["test"], counts["val"])
    return {f"test/floor_training_free_{name}": value for name, value in numbers.items() if not name.startswith("num_")}


@contextmanager
def inference_context(trainer: pl.Trainer, network: SPGNetwork) -> Iterator[None]:
    """Put the network in evaluation mode, on the device and in the precision of the trainer's evaluation.

    Lightning moves it back to the host, and into training mode, after each of its calls.
    """
    network.to(trainer.strategy.root_device).eval()
    with trainer.precision_plugin.forward_context():
        yield


def render_sample(localizer: Localizer, data: ImageDataModule, index: int) -> Picture:
    """Return a test image and the score map of its label, as a report shows them."""
    sample = data.dataset("test")[index]
    assert sample is not None  # it has been evaluated
    (values,) = localizer.maps(sample["image"][None], [sample["label"]])
    return Picture(values, data.dataset("test").source(index))
