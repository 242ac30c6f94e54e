"""Hydra sweeper `optuna`. Hydra accepts plugins of this namespace package alone, and imports them in every Hydra program."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Lets Optuna propose a sweep's jobs, its trials; see `spg_lightning.config.optuna_search`.

    Args:
        n_trials: number of trials of the study, with those of earlier calls.
        n_jobs: number of trials proposed at once.
        direction: of the objective: "minimize" or "maximize".
        sampler: config node of Optuna's sampler.
        pruner: config node of Optuna's pruner.
        params: dotted key -> where to search, in Hydra's grammar.
    """

    def __init__(
        self, n_trials: int, n_jobs: int, direction: str, sampler: Any, pruner: Any, params: Mapping[str, Any]
    ) -> None:
        self.n_trials, self.n_jobs, self.direction = n_trials, n_jobs, direction
        self.sampler, self.pruner, self.params = sampler, pruner, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what the jobs need. Hydra calls this."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials. Hydra calls this.

        Raises:
            UserError: a setting is wrong, or the sweep's folder holds another search.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        try:
            from spg_lightning.config.optuna_search import OptunaSearch
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            from spg_lightning.errors import UserError

            raise UserError("+sweep=optuna needs optuna: pip install '.[sweeps]' (in the checkout)") from error

        words = [*(f"{key}={value}" for key, value in (self.params or {}).items()), *arguments]
        overrides = OverridesParser.create(self.hydra_context.config_loader).parse_overrides(words)
        search = OptunaSearch(self.config, overrides, self.direction, self.sampler, self.pruner)

        def launch(jobs: Sequence[Sequence[str]], first_number: int) -> None:
            assert self.launcher is not None
            self.validate_batch_is_legal(jobs)
            for job in self.launcher.launch(jobs, initial_job_idx=first_number):
                _ = job.return_value  # raises the error of a job that has one

        search.run(launch, self.n_trials, self.n_jobs)
