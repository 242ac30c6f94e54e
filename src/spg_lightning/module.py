"""The LightningModule: calls network, loss and metrics, and logs. Nothing else."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from spg_lightning.data.photos import Batch
from spg_lightning.data.predictions import Ranking
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.evaluation.results import validation_numbers
from spg_lightning.localization.metrics import LocalizationCounts, LocalizationMetric
from spg_lightning.localization.threshold_scan import ThresholdScan
from spg_lightning.score_maps.context import resolve, score_map_context
from spg_lightning.spg.guidance import mask_fractions
from spg_lightning.spg.losses import masks_from_loss
from spg_lightning.spg.network import SPGNetwork, SPGOutput
from spg_lightning.utils.compile import compile_in_place


@dataclass
class TestOutputs:
    """What a test kept: index of the image -> scan of its map, most probable class."""

    scans: dict[int, ThresholdScan]
    predicted: dict[int, int]


Loss = Callable[[SPGOutput, Tensor], dict[str, Tensor]]


class SPGModule(pl.LightningModule):
    """Trains an SPG network and counts localizations of its score maps.

    Args:
        network: with its stem.
        loss: output and labels -> named terms and `total`.
        optimizer: network -> optimizer.
        schedule: optimizer, total_steps, steps_per_epoch -> scheduler, stepped after each step.
        step: what the method does between a batch and its loss, see `baselines.step`.
        score_map: "auto" for all that come with a forward, one name, or several.
        num_thresholds: of the localization metric.
        freeze: "none", or "a1" to hold the stem up to A1 still.
        channels_last: how images and weights lie in memory while training; False for contiguous. Same numbers but for rounding,
            and other dropout, which is drawn in that order.
        compile: the network's forward and backward by torch.compile, in training; evaluation is eager. Names of weights stay.
    """

    def __init__(
        self,
        network: SPGNetwork,
        loss: Loss,
        optimizer: Callable[[SPGNetwork], torch.optim.Optimizer],
        schedule: Callable[..., Any],
        step: Callable[..., dict[str, Tensor]],
        score_map: str | Sequence[str],
        num_thresholds: int,
        freeze: str,
        channels_last: bool,
        compile: bool,
    ) -> None:
        super().__init__()
        if freeze not in ("none", "a1"):
            raise UserError(f"module.freeze={freeze}: choose none or a1")
        if freeze == "a1":
            network.stem.freeze_a1()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        network = network.to(memory_format=self.memory_format)
        if compile:
            compile_in_place(network)
        self.network, self.loss, self.optimizer, self.schedule = network, loss, optimizer, schedule
        self.step = step
        self.score_maps = resolve(score_map, network.branches)
        self.metrics = nn.ModuleDict({name: LocalizationMetric(num_thresholds) for name in self.score_maps})
        self.curves: dict[str, dict[str, LocalizationCounts]] = {}
        self.external_classifier: Ranking | None = None  # another classifier's labels for the test part (paper table 3)
        self.recorded_map: str | None = None  # the score map whose test scans are kept, for results by image
        self.test_outputs = TestOutputs({}, {})

    def forward(self, images: Tensor, branches: tuple[str, ...] | None = None) -> SPGOutput:
        """Return the network's output for uint8 RGB images (B, 3, Y, X)."""
        return self.network(self._inputs(images), branches)

    def _inputs(self, images: Tensor) -> Tensor:
        return self.network.stem.normalize(images).contiguous(memory_format=self.memory_format)

    def training_step(self, batch: Batch | None, batch_index: int) -> Tensor | None:
        """Return the total loss; None for a batch of broken photos alone."""
        if batch is None:
            return None
        seen: list[tuple[SPGOutput, Tensor]] = []

        def loss(output: SPGOutput, labels: Tensor) -> dict[str, Tensor]:
            seen.append((output, labels))
            return self.loss(output, labels)

        terms = self.step(self.network, loss, self._inputs(batch["image"]), batch["label"])
        logged = {f"train/loss_{name}": term.detach() for name, term in terms.items()}
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:  # the masks are made once more: not for nothing
            for name, mask in masks_from_loss(self.loss, *seen[-1]).items():
                logged |= {f"train/mask_{name}/{kind}": share for kind, share in mask_fractions(mask).items()}
        self.log_dict(logged, batch_size=len(batch["label"]))
        self.log("loss", terms["total"].detach(), prog_bar=True, logger=False, batch_size=len(batch["label"]))
        return terms["total"]

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule, one factor a step."""
        optimizer = self.optimizer(self.network)
        total = int(self.trainer.estimated_stepping_batches)
        self.trainer.fit_loop.setup_data()  # without a limit of epochs Lightning has not counted the batches yet
        an_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        scheduler = self.schedule(optimizer, total_steps=total, steps_per_epoch=max(an_epoch, 1))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of before."""
        self._reset()

    def on_test_epoch_start(self) -> None:
        """Forget the counts of before; from now on keep the scans of one map, if asked to."""
        self._reset()
        self.test_outputs = TestOutputs({}, {})
        for name, meter in self.metrics.items():
            meter.keep_scans = name == self.recorded_map  # type: ignore[assignment]

    def validation_step(self, batch: Batch | None, batch_index: int) -> None:
        """Count a batch of validation photos."""
        self._count(batch, "val")

    def test_step(self, batch: Batch | None, batch_index: int) -> None:
        """Count a batch of test photos."""
        self._count(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Keep the curves; log errors at the thresholds that are best on these photos."""
        numbers = validation_numbers(self._keep("val"))
        self.log_dict({f"val/{name}": value for name, value in numbers.items()})
        # the progress bar is narrow
        short = {"gt_err": "gt_known_error", "cls_err": "cls_top1_error"}
        bar = {name: numbers[key] for name, key in short.items() if key in numbers}
        self.log_dict(bar, prog_bar=True, logger=False)

    def on_test_epoch_end(self) -> None:
        """Keep the curves; what they mean is decided with the threshold from validation."""
        self._keep("test")
        if self.recorded_map is None:
            return
        meter = self.metrics[self.recorded_map]
        self.test_outputs.scans = dict(zip(self.test_outputs.predicted, meter.scans, strict=True))  # type: ignore[arg-type]
        if self.trainer.world_size > 1:
            parts: list[TestOutputs | None] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, self.test_outputs)
            for part in parts:
                assert part is not None
                self.test_outputs.scans |= part.scans
                self.test_outputs.predicted |= part.predicted

    def _reset(self) -> None:
        for meter in self.metrics.values():
            meter.reset()  # type: ignore[operator]

    def _keep(self, split: str) -> dict[str, LocalizationCounts]:
        self.curves[split] = {name: meter.compute() for name, meter in self.metrics.items()}  # type: ignore[operator]
        return self.curves[split]

    def _count(self, batch: Batch | None, split: str) -> None:
        if batch is None:
            return
        with score_map_context(self.network, self._inputs(batch["image"]), self.score_maps) as seen:
            maps = {name: seen.map(name, batch["label"])[:, 0] for name in self.metrics}
        self._update(split, batch, seen.output.logits, maps)

    def _update(self, split: str, batch: Batch, logits: Tensor, maps: dict[str, Tensor]) -> None:
        labels, indices = batch["label"], batch["index"].tolist()
        data: ImageDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        names = [data.records[split].images[i] for i in indices]
        five = min(5, logits.shape[1])
        if split == "test" and self.external_classifier is not None:
            ranked = self.external_classifier(batch["image"], names)
        else:
            ranked = logits.topk(five, dim=1).indices
        right = ranked == labels[:, None]
        count = {
            "boxes": data.ground_truth(split, indices), "masks": batch["mask"], "names": names,
            "top1": right[:, 0], "top5": right.any(1) if right.shape[1] >= five else None,
        }  # fmt: skip
        if split == "test" and self.recorded_map is not None:
            self.test_outputs.predicted |= dict(zip(indices, ranked[:, 0].tolist(), strict=True))
        for name, meter in self.metrics.items():
            meter.update(maps[name], **count)  # type: ignore[operator]
