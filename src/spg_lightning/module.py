"""The LightningModule: calls network, loss and metrics, and logs. Nothing else."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from spg_lightning.data.images import Batch
from spg_lightning.data.predictions import Ranking
from spg_lightning.evaluation.results import validation_numbers
from spg_lightning.localization.metrics import LocalizationCounts, LocalizationMetric
from spg_lightning.localization.predicted_classes import PredictedClasses
from spg_lightning.localization.threshold_scan import ThresholdScan
from spg_lightning.localizer import Localizer
from spg_lightning.score_maps.context import ScoreMap
from spg_lightning.spg.guidance import mask_fractions
from spg_lightning.spg.losses import masks_from_loss
from spg_lightning.spg.network import SPGNetwork, SPGOutput
from spg_lightning.spg.training_step import Loss
from spg_lightning.utils.compile import compile_in_place


@dataclass
class ImageOutputs:
    """Results by image of a split, by the index in the records.

    Attributes:
        scans: recorded score map -> index -> scan of its map.
        predicted: index -> most probable class.
        scores: index -> its probability; empty where another classifier ranks the classes.
    """

    scans: dict[str, dict[int, ThresholdScan]] = field(default_factory=dict)
    predicted: dict[int, int] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)


class SPGModule(pl.LightningModule):
    """Trains an SPG network and measures the localization of its score maps.

    Args:
        network: with its stem.
        score_maps: the maps to evaluate, by name.
        loss: output and labels -> named terms and `total`.
        optimizer: network -> optimizer.
        schedule: optimizer, total_steps, steps_per_epoch -> scheduler, stepped after each step.
        step: network, loss, images, labels -> loss terms; the method's training step, see `spg.training_step`.
        num_thresholds: of the localization metric.
        choose_by: what chooses map, threshold and weights on val, see `LocalizationCounts`.
        freeze: "none", "a1" or "backbone", see `Stem.freeze`.
        channels_last: memory format in training; False for contiguous. The results differ by rounding and by the order in
            which dropout is drawn.
        compile: compile the network's forward and backward in training, see `compile_in_place`; False to train eagerly.
            Evaluation is eager; weights keep their names.
    """

    def __init__(
        self,
        network: SPGNetwork,
        score_maps: Mapping[str, ScoreMap],
        loss: Loss,
        optimizer: Callable[[SPGNetwork], torch.optim.Optimizer],
        schedule: Callable[..., Any],
        step: Callable[..., dict[str, Tensor]],
        num_thresholds: int,
        choose_by: str,
        freeze: str,
        channels_last: bool,
        compile: bool | str,
    ) -> None:
        super().__init__()
        network.stem.freeze(freeze)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        network = network.to(memory_format=self.memory_format)
        if compile:
            compile_in_place(network, compile)
        self.network, self.loss, self.optimizer, self.schedule = network, loss, optimizer, schedule
        self.step = step
        self.localizer = Localizer(network, score_maps)
        self.metrics = nn.ModuleDict(
            {name: LocalizationMetric(num_thresholds, choose_by=choose_by) for name in score_maps}
        )
        self.curves: dict[str, dict[str, LocalizationCounts]] = {}
        self.external_classifier: Ranking | None = None  # ranks the test images in place of the forward for the maps
        self.recorded_maps: tuple[str, ...] = ()  # whose results by image are kept in `outputs`
        self.outputs: dict[str, ImageOutputs] = {}  # split -> of its last validation or test

    def forward(self, images: Tensor, branches: tuple[str, ...] | None = None) -> SPGOutput:
        """Return the network's output for uint8 RGB images (B, 3, Y, X)."""
        return self.network(self._inputs(images), branches)

    def _inputs(self, images: Tensor) -> Tensor:
        return self.network.stem.normalize(images).contiguous(memory_format=self.memory_format)

    def training_step(self, batch: Batch | None, batch_index: int) -> Tensor | None:
        """Return the total loss; None for a batch whose images are all corrupt."""
        if batch is None:
            return None
        seen: list[tuple[SPGOutput, Tensor]] = []
        seeds: dict[str, Any] = {} if batch["mask"] is None else {"seeds": batch["mask"].unsqueeze(1)}

        def loss(output: SPGOutput, labels: Tensor) -> dict[str, Tensor]:
            seen.append((output, labels))
            return self.loss(output, labels, **seeds)

        terms = self.step(self.network, loss, self._inputs(batch["image"]), batch["label"])
        logged = {f"train/loss_{name}": term.detach() for name, term in terms.items()}
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:  # the masks are computed again, only for the log
            for name, mask in masks_from_loss(self.loss, *seen[-1], **seeds).items():
                logged |= {f"train/mask_{name}/{kind}": value for kind, value in mask_fractions(mask).items()}
        self.log_dict(logged, batch_size=len(batch["label"]))
        self.log("loss", terms["total"].detach(), prog_bar=True, logger=False, batch_size=len(batch["label"]))
        return terms["total"]

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule, stepped after each step."""
        optimizer = self.optimizer(self.network)
        total = int(self.trainer.estimated_stepping_batches)
        self.trainer.fit_loop.setup_data()  # without a limit of epochs Lightning has not counted the batches yet
        an_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        scheduler = self.schedule(optimizer, total_steps=total, steps_per_epoch=max(an_epoch, 1))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_validation_epoch_start(self) -> None:
        """Reset the metrics and the results by image."""
        self._reset("val")

    def on_test_epoch_start(self) -> None:
        """Reset the metrics and the results by image."""
        self._reset("test")

    def validation_step(self, batch: Batch | None, batch_index: int) -> None:
        """Update the metrics with a batch of validation images."""
        self._update("val", batch)

    def test_step(self, batch: Batch | None, batch_index: int) -> None:
        """Update the metrics with a batch of test images."""
        self._update("test", batch, self.external_classifier)

    def on_validation_epoch_end(self) -> None:
        """Log the errors at the thresholds that are best on these images."""
        numbers = validation_numbers(self._compute("val"))
        self.log_dict({f"val/{name}": value for name, value in numbers.items()})

    def on_test_epoch_end(self) -> None:
        """Compute the counts; `compute_evaluation` applies the threshold from val."""
        self._compute("test")

    def _reset(self, split: str) -> None:
        self.outputs[split] = ImageOutputs()
        for name, metric in self.metrics.items():
            metric.reset()  # type: ignore[operator]
            metric.keep_scans = name in self.recorded_maps  # type: ignore[assignment]

    def _compute(self, split: str) -> dict[str, LocalizationCounts]:
        """Compute the counts, and gather the results by image."""
        self.curves[split] = {name: metric.compute() for name, metric in self.metrics.items()}  # type: ignore[operator]
        outputs = self.outputs[split]
        for name in self.recorded_maps:
            outputs.scans[name] = dict(zip(outputs.predicted, self.metrics[name].scans, strict=True))  # type: ignore[arg-type]
        if self.recorded_maps and self.trainer.world_size > 1:
            gathered: list[ImageOutputs | None] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, outputs)
            for other in gathered:
                assert other is not None
                outputs.predicted |= other.predicted
                outputs.scores |= other.scores
                for name, scans in other.scans.items():
                    outputs.scans[name] |= scans
        return self.curves[split]

    def _update(self, split: str, batch: Batch | None, classifier: Ranking | None = None) -> None:
        """Update each map's metric with the map of the label, and record the most probable classes."""
        if batch is None:
            return
        labels = batch["label"]
        with self.localizer.context(batch["image"]) as context:
            maps = {name: context.map(name, labels)[:, 0] for name in self.metrics}
        if classifier is not None:
            ranked = classifier(batch["image"], batch["image_id"])
        else:
            ranked = context.output.logits.topk(min(5, context.output.logits.shape[1]), dim=1).indices
        predicted = PredictedClasses.of(ranked, labels, context.output.logits.shape[1])
        for name, metric in self.metrics.items():
            metric.update(  # type: ignore[operator]
                maps[name],
                boxes=batch["true_boxes"],
                masks=batch["mask"],
                names=batch["image_id"],
                **predicted._asdict(),
            )
        if self.recorded_maps:
            outputs, indices = self.outputs[split], batch["index"].tolist()
            outputs.predicted |= dict(zip(indices, ranked[:, 0].tolist(), strict=True))
            if classifier is None:
                scores = context.output.logits.float().softmax(1).amax(1)
                outputs.scores |= dict(zip(indices, scores.tolist(), strict=True))
