"""Callback that writes the checkpoints a run resumes from, and restores the run from one."""

import logging
import time
from typing import Any

import pytorch_lightning as pl
import torch

from spg_lightning.checkpoints.resume_state import STATE, ResumeState, save_resume_checkpoint
from spg_lightning.errors import RunStopped, UserError
from spg_lightning.utils.lightning_internals import (
    batches_done,
    disable_sigterm_broadcast,
    dump_checkpoint,
    kill_launched_processes,
    normalize_loop_state,
    restart_skips_validation,
)
from spg_lightning.utils.rng_state import get_rng_state, set_rng_state
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.signals import RunInterrupted, StopSignals

log = logging.getLogger(__name__)

AUTO_STEPS, AUTO_TIME_FRACTION = 200, 0.05
VALIDATION_GRACE_S = 10.0  # for a validation to end after a signal; Slurm kills 30 s after SIGTERM


class ResumableCheckpoint(pl.Callback):
    """Saves at batch boundaries. Must be the first callback.

    Args:
        run_dir: of the run.
        every_steps: between two checkpoints; "auto" for `AUTO_STEPS`, or more to keep the cost below `AUTO_TIME_FRACTION`.
        state: at which this run resumes, None for a fresh run.
        signals: that stop the run; it saves and raises `RunInterrupted`.
        num_train_images: stored, to detect another data set on resume.

    Raises:
        UserError: an invalid `every_steps`.
    """

    def __init__(
        self,
        run_dir: RunDir,
        every_steps: int | str,
        state: ResumeState | None,
        signals: StopSignals,
        num_train_images: int,
    ) -> None:
        if every_steps != "auto" and not (isinstance(every_steps, int) and every_steps >= 1):
            raise UserError(f"checkpoint_every_steps={every_steps}: choose auto or a positive number of steps")
        self.run_dir, self.signals, self.num_train_images = run_dir, signals, num_train_images
        self.every_steps = AUTO_STEPS if every_steps == "auto" else int(every_steps)
        self.time_fraction = AUTO_TIME_FRACTION if every_steps == "auto" else 1.0
        self.saved_step = state.step if state else None
        self.resume_steps = [*state.resume_steps, state.step] if state else []
        self.seconds = state.seconds if state else 0.0
        self.started_at = time.monotonic()
        self._next_save_at = 0.0
        self._to_restore = state
        self._host_group: Any = None

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Check that all processes resume at the same step. Otherwise they would wait for each other.

        Raises:
            UserError: the processes found different checkpoints.
        """
        if stage != "fit" or trainer.world_size == 1:
            return
        steps: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(steps, self._to_restore and self._to_restore.step)
        if len(set(steps)) > 1:
            listed = ", ".join(f"process {number} {step if step else 'none'}" for number, step in enumerate(steps))
            raise UserError(
                f"resume: the processes found checkpoints of different steps in {self.run_dir.checkpoints} ({listed}); "
                "output_dir has to be one folder that all machines share"
            )

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Kill the other processes of a stopped run. It is saved, or not needed, and they could end this process with them."""
        if isinstance(exception, RunStopped):
            kill_launched_processes(trainer)

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started_at = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Defer signals to batch boundaries from here on."""
        self.signals.install()
        self.signals.deferred = True
        if trainer.world_size > 1:
            on_gpu = trainer.strategy.root_device.type == "cuda"
            self._host_group = torch.distributed.new_group(backend="gloo") if on_gpu else torch.distributed.group.WORLD
            disable_sigterm_broadcast(trainer)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, which sets its handlers at each of its calls."""
        self.signals.install()

    def on_validation_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Abort a long validation after a signal. The resumed run repeats the steps since the last checkpoint."""
        if self.signals.waiting() > VALIDATION_GRACE_S:
            raise RunInterrupted(self.signals.received or 15)

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals back from Lightning."""
        self.signals.install()

    def on_test_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop at a signal whose exception Python dropped. Signals are not deferred during the test."""
        if not self.signals.deferred and self.signals.received is not None:
            raise RunInterrupted(self.signals.received)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Restore the random numbers, save when due, stop after a signal."""
        if self._to_restore:
            self._restore(trainer)
        step = trainer.global_step
        due = (
            bool(step)
            and step % self.every_steps == 0
            and trainer.is_global_zero
            and time.monotonic() >= self._next_save_at
        )
        stop, due = self._sync_stop_request(trainer, due)
        at_step = batches_done(trainer) % trainer.accumulate_grad_batches == 0  # no gradients are being accumulated
        if at_step and step != self.saved_step and (stop or due):
            began = time.monotonic()
            self._save(trainer, between_epochs=False)
            cost = time.monotonic() - began
            self._next_save_at = time.monotonic() + cost * (1 / self.time_fraction - 1)
        if at_step and stop:
            raise RunInterrupted(self.signals.received or 15)  # 15: another process received the signal

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save the last step: the evaluation may be interrupted, and the run may be extended."""
        if trainer.global_step != self.saved_step:
            self._save(trainer, between_epochs=batches_done(trainer) >= trainer.num_training_batches)
        self.signals.deferred = False
        if self._sync_stop_request(trainer)[0]:
            raise RunInterrupted(self.signals.received or 15)

    def _sync_stop_request(self, trainer: pl.Trainer, due: bool = False) -> tuple[bool, bool]:
        """Return whether any process received a signal, and whether a checkpoint is due, the same in all processes."""
        received = self.signals.received is not None
        if trainer.world_size == 1:
            return received, due
        # over the hosts, so that no device waits
        both = torch.tensor([int(received), int(due)])
        torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX, group=self._host_group)
        return bool(both[0]), bool(both[1])

    def _restore(self, trainer: pl.Trainer) -> None:
        assert self._to_restore is not None
        states, self._to_restore = self._to_restore.rng_states, None
        if len(states) == trainer.world_size:
            set_rng_state(states[trainer.global_rank], trainer.strategy.root_device)
        elif trainer.is_global_zero:
            log.warning(
                "saved by %d processes, resumed by %d: dropout draws other random numbers than in an uninterrupted run",
                len(states), trainer.world_size,
            )  # fmt: skip

    def _save(self, trainer: pl.Trainer, between_epochs: bool) -> None:
        rng_states: list[Any] = [get_rng_state(trainer.strategy.root_device)]
        if trainer.world_size > 1:
            own, rng_states = rng_states[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(rng_states, own)
        for logger in trainer.loggers:
            logger.save()  # rows of earlier steps reach the disk before the checkpoint does
        checkpoint = dump_checkpoint(trainer)
        loops = normalize_loop_state(trainer, checkpoint["loops"]["fit_loop"], between_epochs)
        batch = 0 if between_epochs else batches_done(trainer)
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= restart_skips_validation(
            trainer, batch, between_epochs
        )
        checkpoint[STATE] = {
            "step": trainer.global_step,
            "epoch": loops["epoch_progress"]["current"]["processed"],
            "batch": batch,
            "rng_states": rng_states,
            "seconds": self.seconds + time.monotonic() - self.started_at,
            "resume_steps": self.resume_steps,
            "num_train_images": self.num_train_images,
        }
        self._write(trainer, checkpoint)
        trainer.strategy.barrier("resume.ckpt")

    def _write(self, trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
        if trainer.is_global_zero:
            try:
                save_resume_checkpoint(checkpoint, self.run_dir)
            except UserError as error:
                # a failed checkpoint must not end days of training; a disk without room for the log does
                kept = f"the one of step {self.saved_step} is kept" if self.saved_step else "there is none yet"
                log.warning("%s; %s; training continues", error, kept)
                return
        self.saved_step = trainer.global_step
