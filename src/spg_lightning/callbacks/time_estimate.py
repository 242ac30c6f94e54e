"""One line at the start of a training: how long it will take on this machine."""

import logging
from time import perf_counter
from typing import Any

import pytorch_lightning as pl

from spg_lightning.utils.durations import duration

log = logging.getLogger(__name__)
WARM_UP, MEASURED = 1, 3  # steps: the first one is slower than the others


class TimeEstimate(pl.Callback):
    """Measures the first steps of this call and logs the time that the remaining ones take, without validations."""

    def __init__(self) -> None:
        self._begin, self._steps = 0.0, 0

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Log after a few steps. Lightning calls this."""
        self._steps += 1
        if self._steps == WARM_UP:
            self._begin = perf_counter()
        if self._steps == WARM_UP + MEASURED and trainer.is_global_zero:
            each = (perf_counter() - self._begin) / MEASURED
            left = max(int(trainer.estimated_stepping_batches) - trainer.global_step, 0)
            if not left:
                return
            log.info(
                "training: %d steps left, %.2f s each on this %s: about %s, and the validations",
                left, each, trainer.strategy.root_device.type.upper(), duration(left * each),
            )  # fmt: skip
