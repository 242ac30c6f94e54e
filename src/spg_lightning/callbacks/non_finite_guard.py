"""Callback that stops a run whose loss or weights are no longer finite, and names the step and its images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from spg_lightning.checkpoints.resume_state import latest_checkpoint
from spg_lightning.errors import UserError
from spg_lightning.utils.run_dir import RunDir

DEFAULT_CHECK_STEPS = 50


class NonFiniteError(UserError):
    """A loss or a weight is no longer finite."""


class _Step(NamedTuple):
    number: int
    loss: Tensor
    image_ids: list[str]


class NonFiniteGuard(pl.Callback):
    """Checks the losses of several steps at once, so that a GPU is not synchronized at each; on the CPU at each step.

    Args:
        run_dir: whose newest checkpoint the error message names.
        steps: checked together; 0, where nothing is logged, means `DEFAULT_CHECK_STEPS`.
    """

    def __init__(self, run_dir: RunDir, steps: int) -> None:
        self.run_dir, self.steps = run_dir, steps or DEFAULT_CHECK_STEPS
        self.unchecked: list[_Step] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the step's loss; check when due."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if batch is None or loss is None:
            return
        self.unchecked.append(_Step(trainer.global_step, loss.detach(), batch["image_id"]))
        if loss.device.type == "cpu" or len(self.unchecked) >= self.steps:
            self._check_losses(trainer)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Check losses and weights before a validation. An update can be non-finite although its loss was finite."""
        self._check_losses(trainer)
        self._check_weights(trainer, module.state_dict())

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save non-finite weights."""
        self._check_losses(trainer)
        self._check_weights(trainer, checkpoint["state_dict"])

    def _check_weights(self, trainer: pl.Trainer, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise NonFiniteError(
                    f"{name} is no longer finite at step {trainer.global_step}; {self._latest_checkpoint_hint()}; lower "
                    "dataset.lr, or set trainer.gradient_clip_val"
                )

    def _check_losses(self, trainer: pl.Trainer) -> None:
        steps, self.unchecked = self.unchecked, []
        finite = torch.stack([step.loss for step in steps]).isfinite().tolist() if steps else []
        bad = finite.index(False) if False in finite else None
        several = trainer.world_size > 1
        if not (trainer.strategy.reduce_boolean_decision(bad is not None, all=False) if several else bad is not None):
            return
        reports: list[Any] = ["" if bad is None else self._describe(trainer, steps[bad], steps[-1])]
        if several:
            own, reports = reports[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(reports, own)
        first = [report for report in reports if report][:2]
        raise NonFiniteError(
            "; ".join([*first, self._latest_checkpoint_hint(), "lower dataset.lr, or look at these images"])
        )

    def _describe(self, trainer: pl.Trainer, step: _Step, current: _Step) -> str:
        terms = ", ".join(
            f"{name.removeprefix('train/loss_')} {float(value):g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/loss_")
        )
        at = "" if current.number == step.number else f" at step {current.number}"
        return (
            f"the loss of step {step.number} is {float(step.loss):g} (terms{at}: {terms}) on {' '.join(step.image_ids)}"
        )

    def _latest_checkpoint_hint(self) -> str:
        path = latest_checkpoint(self.run_dir)
        return f"the last good checkpoint is {path}" if path else "no checkpoint was written before"
