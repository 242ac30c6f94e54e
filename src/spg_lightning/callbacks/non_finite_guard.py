"""The callback that ends a run whose loss, or a weight, is no number any more, and that says where it began."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from spg_lightning.checkpoints.resume_state import latest_checkpoint
from spg_lightning.errors import UserError

DEFAULT_CHECK_STEPS = 50  # steps


class NonFiniteGuard(pl.Callback):
    """Looks at the losses of several steps at once, so that a GPU is not waited for at each; on the CPU at each.

    Args:
        folder: of the checkpoints, to name the last good one.
        steps: that are looked at together; 0 (nothing is logged): `DEFAULT_CHECK_STEPS`.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps or DEFAULT_CHECK_STEPS
        self.seen: list[tuple[int, Tensor, Tensor]] = []  # step, loss, indices of the images; since the last look

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the step; look, if it is time to."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if batch is None or loss is None:
            return
        self.seen.append((trainer.global_step, loss.detach(), batch["index"]))
        if loss.device.type == "cpu" or len(self.seen) >= self.steps:
            self._check_losses(trainer)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Look before anything is counted with the weights: a loss may be finite, and the update after it not."""
        self._check_losses(trainer)
        self._check_weights(trainer, module.state_dict())

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let no checkpoint be written that holds what is no number."""
        self._check_losses(trainer)
        self._check_weights(trainer, checkpoint["state_dict"])

    def _check_weights(self, trainer: pl.Trainer, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise UserError(
                    f"{name} is no longer finite at step {trainer.global_step}; {self._latest_checkpoint_hint()}; lower "
                    "dataset.lr, or set trainer.gradient_clip_val"
                )

    def _check_losses(self, trainer: pl.Trainer) -> None:
        seen, self.seen = self.seen, []
        finite = torch.stack([loss for _, loss, _ in seen]).isfinite().tolist() if seen else []
        bad = finite.index(False) if False in finite else None
        several = trainer.world_size > 1
        if not (trainer.strategy.reduce_boolean_decision(bad is not None, all=False) if several else bad is not None):
            return
        said: list[Any] = [self._describe(trainer, seen, bad)]
        if several:
            own, said = said[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(said, own)
        told = [
            *[part for part in said if part][:2],
            self._latest_checkpoint_hint(),
            "lower dataset.lr, or look at these images",
        ]
        raise UserError("; ".join(told))

    def _describe(self, trainer: pl.Trainer, seen: list[tuple[int, Tensor, Tensor]], bad: int | None) -> str:
        """Return the step, the parts of its loss and its images; nothing where this process's losses are finite."""
        if bad is None:
            return ""
        step, loss, indices = seen[bad]
        now = seen[-1][0]
        parts = ", ".join(
            f"{name.removeprefix('train/loss_')} {float(value):g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/loss_")
        )
        names = trainer.datamodule.records["train"].images  # type: ignore[attr-defined]
        images = " ".join(str(names[i]) for i in indices.tolist())
        when = "" if now == step else f" at step {now}"
        return f"the loss of step {step} is {float(loss):g} (parts{when}: {parts}) on {images}"

    def _latest_checkpoint_hint(self) -> str:
        good = latest_checkpoint(self.folder)
        return f"the last good checkpoint is {good}" if good else "no checkpoint was written before"
