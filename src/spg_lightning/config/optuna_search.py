"""A search: a sweep whose jobs Optuna proposes, from those that ended. Hydra's class is in `hydra_plugins`."""

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from spg_lightning.config.job_records import JobRecords
from spg_lightning.config.search_space import split_overrides
from spg_lightning.config.sweep import IGNORED_IN_NAME
from spg_lightning.errors import UserError
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.instantiate import instantiate_node
from spg_lightning.utils.study_file import FILE_NAME, open_study
from spg_lightning.utils.terminal import print_line

Launch = Callable[[Sequence[Sequence[str]], int], None]
TRIALS, RESULTS = "trials.csv", "optimization_results.yaml"
FIXED = "overrides"  # attribute of the study: the overrides that all its trials share
STATES = {"trained": TrialState.COMPLETE, "skipped": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class OptunaSearch:
    """A study in a sweep's folder, whose trials are the sweep's jobs, by number.

    Args:
        config: of the sweep.
        overrides: of its jobs, those to search among them.
        direction: "minimize" or "maximize".
        sampler: config node of the sampler. Its seed is drawn anew for each trial, from it and the trial's number, so that an
            interrupted search goes on with the trials that it would have had.
        pruner: config node of the pruner.

    Raises:
        UserError: a setting is wrong, or the sweep's folder holds another search.
    """

    def __init__(
        self, config: DictConfig, overrides: Iterable[Override], direction: str, sampler: Any, pruner: Any
    ) -> None:
        if direction not in ("minimize", "maximize"):
            raise UserError(f"hydra.sweeper.direction={direction}: choose minimize or maximize")
        self.folder = Path(str(config.hydra.sweep.dir))
        self.records = JobRecords.of_sweep(self.folder)
        self.fixed, self.space = split_overrides(overrides)
        self.sampler, pruner = _plain(sampler), _plain(pruner)
        for name, node in {"sampler": self.sampler, "pruner": pruner}.items():
            try:
                instantiate_node(node)
            except UserError as error:
                raise UserError(f"hydra.sweeper.{name}: {str(error).removeprefix('config: ')}") from error
        if config.get("objective") is None:
            raise UserError("a search needs an objective, such as objective=val/gt_known_error of the command train")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.study = open_study(self.folder, direction, pruner)
        self._check_is_the_same(str(config.objective))

    def run(self, launch: Launch, n_trials: int, n_jobs: int) -> None:
        """Run trials until the study has `n_trials` that ended, or failed in this call. Write the best one.

        A failed trial stays open: the next call runs it again, in its folder.

        Args:
            launch: overrides of jobs, number of the first -> runs them.
            n_trials: with those of earlier calls.
            n_jobs: number of trials proposed at once.
        """
        for name, value in {"n_trials": n_trials, "n_jobs": n_jobs}.items():
            if not isinstance(value, int) or value < 1:
                raise UserError(f"hydra.sweeper.{name}={value}: choose a number from 1 on")
        begun = self._begun()
        left = n_trials - len(self._trials(*STATES.values()))
        while left > 0:
            batch = _consecutive(begun)[:n_jobs]
            begun = begun[len(batch) :]
            if not batch:
                batch = [self._ask() for _ in range(min(n_jobs, left))]
            launch([self._overrides(trial) for trial in batch], batch[0].number)
            for trial in batch:
                self._tell(trial)
            self._write_trials()
            left -= len(batch)
        self._write_best()

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _check_is_the_same(self, objective: str) -> None:
        """Refuse to mix trials of different overrides. The bounds of an interval may change."""
        words = [word for word in self.fixed if re.split(r"[./=]", word.lstrip("+~"))[0] not in IGNORED_IN_NAME]
        words += [f"{key}={_kind(distribution)}" for key, distribution in self.space.items()]
        now = sorted({*words, f"objective={objective}"})
        before = self.study.user_attrs.get(FIXED)
        if before is None:
            self.study.set_user_attr(FIXED, now)
        elif before != now:
            differing = ", ".join(sorted(set(before) ^ set(now)))
            raise UserError(
                f"{self.folder / FILE_NAME} is of a search with other overrides ({differing}); choose another output_dir"
            )

    def _begun(self) -> list[FrozenTrial]:
        """Return the open trials of earlier calls, which run again."""
        for trial in self._trials(TrialState.RUNNING):
            if not self._is_whole(trial):  # the call was killed while it proposed this one
                self.study.tell(trial.number, state=TrialState.FAIL)
            elif self.records.read(trial.number) is not None:  # the call was killed before the rest of its batch ended
                self._tell(trial)
        return self._trials(TrialState.RUNNING)

    def _is_whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() == self.space.keys()

    def _ask(self) -> FrozenTrial:
        self.study.sampler = self._new_sampler(sum(map(self._is_whole, self._trials())))
        number = self.study.ask(self.space).number
        return self._trials()[number]

    def _new_sampler(self, number: int) -> Any:
        node = dict(self.sampler)
        if node.get("seed") is not None:
            node["seed"] = int(np.random.SeedSequence((node["seed"], number)).generate_state(1)[0])
        return instantiate_node(node)

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        return [*self.fixed, *_words(trial.params)]

    def _tell(self, trial: FrozenTrial) -> None:
        """Tell the study how a trial ended, unless it failed."""
        job = self.records.read(trial.number)
        state = None if job is None else STATES.get(job.status)
        if job is None or state is None:
            return
        if state == TrialState.PRUNED:
            self.study.tell(trial.number, state=state)
        elif job.objective is not None and math.isfinite(job.objective):
            self.study.tell(trial.number, job.objective)

    def _write_trials(self) -> None:
        """Write a row for each trial: what was tried, and the last value that was reported, for one's own plots."""
        keys = list(dict.fromkeys(key for trial in self._trials() for key in trial.params))
        with atomically(self.folder / TRIALS, "w", newline="") as file:
            writer = csv.DictWriter(file, ["trial", "state", "objective", "percent_trained", "last_validation", *keys])
            writer.writeheader()
            for trial in self._trials():
                reported = max(trial.intermediate_values.items(), default=("", ""))
                state = "failed" if trial.state == TrialState.RUNNING else trial.state.name.lower()
                row = {"trial": trial.number, "state": state}
                if trial.state == TrialState.COMPLETE:  # Optuna also calls the last report of a pruned one its value
                    row["objective"] = trial.value
                writer.writerow({**row, "percent_trained": reported[0], "last_validation": reported[1], **trial.params})

    def _write_best(self) -> None:
        if not self._trials(TrialState.COMPLETE):
            return
        best = self.study.best_trial
        found = {"name": "optuna", "best_params": best.params, "best_value": best.value}
        with atomically(self.folder / RESULTS, "w") as file:
            OmegaConf.save(OmegaConf.create(found), file)
        print_line(f"best: trial-{best.number}, {best.value:.4g} with {' '.join(_words(best.params))}")


def _words(params: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in params.items()]


def _kind(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ",".join(map(str, distribution.choices))
    log = isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
    return f"{'tag(log) ' if log else ''}{type(distribution).__name__.removesuffix('Distribution').lower()}"


def _consecutive(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the first trials whose numbers follow each other: a launcher counts its jobs."""
    return [trial for place, trial in enumerate(trials) if trial.number == trials[0].number + place]


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
