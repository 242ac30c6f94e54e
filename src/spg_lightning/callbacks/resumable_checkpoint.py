"""The callback that writes the checkpoints a run goes on with, and that goes on."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from spg_lightning.checkpoints.resume_state import STATE, ResumeState, save_resume_checkpoint
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.utils.distributed import kill_other_processes
from spg_lightning.utils.lightning_internals import batches_done, normalize_loop_state, restart_skips_validation
from spg_lightning.utils.rng_state import get_rng_state, set_rng_state
from spg_lightning.utils.signals import RunInterrupted, StopSignals

log = logging.getLogger(__name__)

AUTO_STEPS, AUTO_TIME_FRACTION = 200, 0.05
VALIDATION_GRACE_S = (
    10.0  # seconds that a validation gets to end in when the run is asked to stop; Slurm kills 30 after SIGTERM
)


class ResumableCheckpoint(pl.Callback):
    """Saves before a batch, when nothing of it has happened yet; has to be the first of the callbacks.

    Args:
        folder: for the checkpoints.
        every_steps: between two of them; "auto": `AUTO_STEPS`, or as many more as keep what they cost to `AUTO_TIME_FRACTION` of the time.
        position: where this run goes on, None for a fresh one.
        signals: that ask to end; the run saves and raises `RunInterrupted`.
    """

    def __init__(
        self, folder: Path, every_steps: int | str, position: ResumeState | None, signals: StopSignals
    ) -> None:
        if every_steps != "auto" and not (isinstance(every_steps, int) and every_steps >= 1):
            raise UserError(f"checkpoint_every_steps={every_steps}: choose auto or a positive number of steps")
        self.folder, self.position, self.signals = folder, position, signals
        self.every_steps = AUTO_STEPS if every_steps == "auto" else int(every_steps)
        self.share = AUTO_TIME_FRACTION if every_steps == "auto" else 1.0
        self._rest_until = 0.0
        self.saved_step = position.step if position else None
        self.resume_steps = [*position.resume_steps, position.step] if position else []
        self.seconds = position.seconds if position else 0.0
        self.began = time.monotonic()
        self._to_restore = position
        self._hosts: Any = None

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """See that all processes go on from one place, before anything is restored: else they would wait for each other.

        Raises:
            UserError: they found different checkpoints, or some none.
        """
        if stage != "fit" or trainer.world_size == 1:
            return
        found: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, self.position and self.position.step)
        if len(set(found)) > 1:
            steps = ", ".join(f"process {number} {step if step else 'none'}" for number, step in enumerate(found))
            raise UserError(
                f"resume: the processes found checkpoints of different steps in {self.folder} ({steps}); "
                "output_dir has to be one folder that all machines share"
            )

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """End the other processes where the run was asked to end: it is saved, and they could take this one with them."""
        if isinstance(exception, RunInterrupted):
            kill_other_processes(trainer)

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.began = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """From now on a signal waits for the end of the step."""
        self.signals.install()
        self.signals.deferred = True
        if trainer.world_size > 1:
            on_gpu = trainer.strategy.root_device.type == "cuda"
            self._hosts = torch.distributed.new_group(backend="gloo") if on_gpu else torch.distributed.group.WORLD
            # Lightning asks its processes at each step, over the device, whether one got a signal; `_sync_stop_request` does
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, which takes them at each of its calls."""
        self.signals.install()

    def on_validation_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Give a long validation up: what was trained since the last checkpoint is made again, the same."""
        if self.signals.waiting() > VALIDATION_GRACE_S:
            raise RunInterrupted(self.signals.received or 15)

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals back here, too."""
        self.signals.install()

    def on_test_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """End where a signal was lost on its way: nobody is patient here."""
        if not self.signals.deferred and self.signals.received is not None:
            raise RunInterrupted(self.signals.received)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Go on, or save if it is time to; end if asked to."""
        if self._to_restore:
            self._restore(trainer)
        step = trainer.global_step
        due = (
            bool(step)
            and step % self.every_steps == 0
            and trainer.is_global_zero
            and time.monotonic() >= self._rest_until
        )
        stop, due = self._sync_stop_request(trainer, due)
        whole = batches_done(trainer) % trainer.accumulate_grad_batches == 0  # no gradients are waiting for more
        if whole and step != self.saved_step and (stop or due):
            began = time.monotonic()
            self._save(trainer, between_epochs=False)
            self._rest_until = time.monotonic() + (time.monotonic() - began) * (1 / self.share - 1)
        if whole and stop:
            raise RunInterrupted(self.signals.received or 15)  # 15: another process was asked

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save the end: the evaluation may be cut off, too, or more epochs be wanted."""
        if trainer.global_step != self.saved_step:
            self._save(trainer, between_epochs=batches_done(trainer) >= trainer.num_training_batches)
        self.signals.deferred = False
        if self._sync_stop_request(trainer)[0]:
            raise RunInterrupted(self.signals.received or 15)

    def _sync_stop_request(self, trainer: pl.Trainer, due: bool = False) -> tuple[bool, bool]:
        """Return whether any process was asked to end, and whether any holds a checkpoint to be due."""
        asked = self.signals.received is not None
        if trainer.world_size == 1:
            return asked, due
        # the processes end together, or one would wait for the other's gradients; hosts ask each other, no device waits
        both = torch.tensor([int(asked), int(due)])
        torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX, group=self._hosts)
        return bool(both[0]), bool(both[1])

    def _restore(self, trainer: pl.Trainer) -> None:
        assert self._to_restore is not None
        rng_states, self._to_restore = self._to_restore.rng_states, None
        if len(rng_states) == trainer.world_size:
            set_rng_state(rng_states[trainer.global_rank], trainer.strategy.root_device)
        elif trainer.is_global_zero:
            log.warning(
                "%d processes then, %d now: dropout and the like draw other random numbers",
                len(rng_states),
                trainer.world_size,
            )

    def _save(self, trainer: pl.Trainer, between_epochs: bool) -> None:
        rng_states: list[Any] = [get_rng_state(trainer.strategy.root_device)]
        if trainer.world_size > 1:
            own, rng_states = rng_states[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(rng_states, own)
        for logger in trainer.loggers:
            logger.save()  # what was logged before this step is on the disk when the checkpoint is
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        loops = normalize_loop_state(trainer, checkpoint["loops"]["fit_loop"], between_epochs)
        batch = 0 if between_epochs else batches_done(trainer)
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= restart_skips_validation(
            trainer, batch, between_epochs
        )
        data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
        checkpoint[STATE] = {
            "step": trainer.global_step,
            "epoch": loops["epoch_progress"]["current"]["processed"],
            "batch": batch,
            "rng_states": rng_states,
            "seconds": self.seconds + time.monotonic() - self.began,
            "resume_steps": self.resume_steps,
            "num_train_images": len(data.records["train"]),
        }
        self._write(trainer, checkpoint)
        trainer.strategy.barrier("resume.ckpt")

    def _write(self, trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
        if trainer.is_global_zero:
            try:
                save_resume_checkpoint(checkpoint, self.folder)
            except UserError as error:
                # two days of training are worth more than one checkpoint; only a disk without room for the log ends them
                kept = f"the one of step {self.saved_step} stays" if self.saved_step else "there is none yet"
                log.warning("%s; %s; the training goes on", error, kept)
                return
        self.saved_step = trainer.global_step
