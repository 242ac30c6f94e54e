"""Log to Weights & Biases without making training wait for it: offline without a key or a server."""

import logging
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from spg_lightning.errors import UserError, first_line
from spg_lightning.evaluation.results import Evaluation
from spg_lightning.loggers import wandb_results
from spg_lightning.reporting.samples import SampleView

log = logging.getLogger(__name__)
MAX_TAG, MAX_GROUP = 64, 128  # characters


class WandbResultsLogger(WandbLogger):
    """A Weights & Biases run with the results as tables, images and curves.

    Runs of one data set, stem and variant form a group, so that a dashboard averages over their seeds.

    Args:
        offline: keep the run on disk for `wandb sync`. None: without a key. A run that the server does not accept also stays on disk.
        timeouts: in seconds: `start` for the server to accept the run, `finish` to send the rest after training. Nothing
            waits for the server in between.
        name, group: None: the run's variant.
        tags: added to data set, stem, method and variant.
        run: arguments of Lightning's `WandbLogger` and of `wandb.init`.
    """

    def __init__(
        self,
        offline: bool | None,
        timeouts: dict[str, float],
        name: str | None,
        group: str | None,
        tags: Sequence[str],
        **run: Any,
    ) -> None:
        super().__init__(name=name, group=group, tags=list(tags), **run)
        self.offline, self.timeouts = offline, timeouts

    def set_config(self, config: dict[str, Any]) -> None:
        """Set the run's config, and from it name, group and tags. Call it before anything is logged."""
        groups = ("dataset", "stem", "method")
        data, stem, method = (config[group]["name"] for group in groups)
        words = [word for word in config["variant"] if word.partition("=")[0] not in groups]
        variant = " ".join([method, *words])
        init = self._wandb_init
        init["config"] = {**config, "variant": variant}
        init["name"] = init["name"] or f"{variant} seed={config['seed']}"
        init["group"] = init["group"] or _shorten(f"{data} {stem} {variant}", MAX_GROUP)
        init["tags"] = [_shorten(tag, MAX_TAG) for tag in dict.fromkeys([data, stem, method, *words, *init["tags"]])]

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run. It starts on first access."""
        if self._experiment is None:
            self._start()
        return self._experiment

    @rank_zero_only
    def log_evaluation(
        self, evaluation: Evaluation, views: list[SampleView], class_names: Sequence[str], provenance: dict[str, Any]
    ) -> None:
        """Log provenance, curves, images with boxes and masks, and tables. Tables need the server of an online run."""
        import wandb

        run = self.experiment
        run.config.update({"provenance": provenance, "score_map_chosen": evaluation.score_map}, allow_val_change=True)
        wandb_results.log_evaluation(run, evaluation, views, class_names)
        try:
            wandb_results.log_tables(run, evaluation, views, class_names)
        except wandb.errors.Error as error:
            self._warn(f"{first_line(error)}; its tables are in the run folder's .csv files", "run")

    @rank_zero_only
    def close(self, failed: bool) -> None:
        """End the run. The next run of this process is another."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(failed))

    def _start(self) -> None:
        import wandb

        init, has_mode = self._wandb_init, os.environ.get("WANDB_MODE", "online") != "online"
        init["settings"] = wandb.Settings(
            init_timeout=self.timeouts["start"], finish_timeout=self.timeouts["finish"], quiet=True
        )
        init.pop("anonymous", None)  # Lightning passes it, and wandb warns of it
        is_offline = self.offline
        if is_offline is None and not has_mode and not has_wandb_key():
            is_offline = True
            self._warn(f"no API key for {_server()}")
        # not Lightning's `offline`: it would apply to all later runs of this process
        init["mode"] = "offline" if is_offline and not has_mode else None
        try:
            self._experiment = super().experiment
        except wandb.errors.UsageError as error:
            raise UserError(f"logger=wandb: {first_line(error)}") from error
        except wandb.errors.Error as error:
            self._warn(f"{_server()} did not accept the run ({first_line(error)})")
            init["mode"] = "offline"
            self._experiment = super().experiment

    def _warn(self, reason: str, kind: str = "offline-run") -> None:
        kept = Path(self.save_dir or ".") / "wandb" / f"{kind}-*"
        log.warning("Weights & Biases: %s; the run is kept on disk: wandb sync %s", reason, kept)


def has_wandb_key() -> bool:
    """Return whether the environment or ~/.netrc has a key for the server."""
    from requests.utils import get_netrc_auth

    return bool(os.environ.get("WANDB_API_KEY")) or get_netrc_auth(_server()) is not None


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _shorten(text: str, length: int) -> str:
    """Shorten a text. A hash keeps different texts different."""
    return text if len(text) <= length else f"{text[: length - 9]}-{sha256(text.encode()).hexdigest()[:8]}"
