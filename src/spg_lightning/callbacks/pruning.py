"""Callback of a search's trial: it reports each validation to the study, and ends a run that Optuna's pruner finds hopeless."""

import logging

import pytorch_lightning as pl

from spg_lightning.errors import RunPruned, nearest
from spg_lightning.utils.study_file import TrialId, open_trial

log = logging.getLogger(__name__)


class Pruning(pl.Callback):
    """Reports by the percentage of the training that is done, which trials with other batches and epochs share.

    Args:
        trial: that this run is.
        objective: that the search minimizes or maximizes, as in metrics.json. Where validations do not measure it, nothing is pruned.
    """

    def __init__(self, trial: TrialId, objective: str) -> None:
        self.trial, self.objective = trial, objective
        self._is_measured = True

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Report the objective.

        Raises:
            RunPruned: the trial is hopeless.
        """
        if trainer.sanity_checking or not self._is_measured:
            return
        if self.objective not in trainer.callback_metrics:
            self._is_measured = False
            measured = [name for name in trainer.callback_metrics if name.startswith("val/")]
            log.warning(
                "objective=%s is not measured while training: no trial is pruned.%s", self.objective, nearest(self.objective, measured)
            )  # fmt: skip
            return
        percent = round(100 * trainer.global_step / trainer.estimated_stepping_batches)
        value = float(trainer.callback_metrics[self.objective])
        is_hopeless = trainer.is_global_zero and self._report(value, percent)
        if trainer.strategy.broadcast(is_hopeless):
            raise RunPruned(f"{self.objective} {value:.4g} after {percent} % of the training")

    def _report(self, value: float, percent: int) -> bool:
        """Report a value, once for a percentage: a resumed run repeats some. Return whether the trial is hopeless."""
        trial = open_trial(self.trial)
        if percent not in trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values:
            trial.report(value, percent)
        return percent < 100 and trial.should_prune()  # what is trained may as well be evaluated
