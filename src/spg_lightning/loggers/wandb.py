"""Log to Weights & Biases without making training wait for it: offline without a key or a server."""

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from spg_lightning.callbacks.non_finite_guard import NonFiniteError
from spg_lightning.data.records import Records
from spg_lightning.errors import RunPruned, UserError, first_line
from spg_lightning.evaluation.results import Evaluation
from spg_lightning.loggers import wandb_artifacts, wandb_results
from spg_lightning.loggers.wandb_history import last_steps
from spg_lightning.reporting.samples import SampleView
from spg_lightning.utils.signals import RunInterrupted

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
        log_checkpoints: "best", "all" (each new best and the last) or "none": as artifacts.
        watch: "gradients", "parameters" or "all": histograms of the network, see `wandb.watch`. None: neither.
        run: arguments of Lightning's `WandbLogger` and of `wandb.init`.
    """

    def __init__(
        self,
        offline: bool | None,
        timeouts: dict[str, float],
        name: str | None,
        group: str | None,
        tags: Sequence[str],
        log_checkpoints: str,
        watch: str | None,
        **run: Any,
    ) -> None:
        if log_checkpoints not in ("best", "all", "none"):
            raise UserError(f"logger.log_checkpoints={log_checkpoints}: choose best, all or none")
        if watch not in (None, "gradients", "parameters", "all"):
            raise UserError(f"logger.watch={watch}: choose gradients, parameters, all or null")
        super().__init__(name=name, group=group, tags=list(tags), **run)
        self.offline, self.timeouts = offline, timeouts
        self.log_checkpoints, self.watched = log_checkpoints, watch
        self._id_file: Path | None = None
        self._logged_steps: dict[str, int] = {}

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

    def set_id_file(self, path: Path, resume: bool) -> None:
        """Name the file that holds the run's id. Call it before anything is logged.

        Args:
            path: of the file, in the run folder.
            resume: continue the W&B run of this id, if there is one, and log none of its steps again. Otherwise the file is
                replaced.
        """
        self._id_file = path
        if resume and path.is_file():
            run_id = self._wandb_init["id"] = path.read_text(encoding="utf-8").strip()
            self._logged_steps = last_steps(Path(self.save_dir or ".") / "wandb", run_id)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run. It starts on first access."""
        if self._experiment is None:
            self._start()
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the metrics that no earlier attempt has logged: a resumed run repeats the steps since its checkpoint.

        W&B can neither replace a row nor, without a preview feature of its server, rewind a run.
        """
        if step is not None:
            metrics = {key: value for key, value in metrics.items() if step > self._logged_steps.get(key, -1)}
        if metrics:
            super().log_metrics(metrics, step)

    @rank_zero_only
    def watch_network(self, network: nn.Module) -> None:
        """Log histograms of the network's gradients or parameters, if the user asked for them."""
        if self.watched is not None:
            self.watch(network, log=self.watched, log_graph=False)

    @rank_zero_only
    def log_dataset(self, name: str, splits: Mapping[str, Records]) -> None:
        """Log the data set's index as an artifact that the run uses, if checkpoints are logged. Equal indices are one version."""
        if self.log_checkpoints == "none":  # an artifact makes the end of the run wait for a server that went away
            return
        wandb_artifacts.use_dataset(self.experiment, name, splits)

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Log each new best checkpoint, if all are to be logged."""
        if self.log_checkpoints == "all" and checkpoint_callback.best_model_path:
            self._log_checkpoint(Path(checkpoint_callback.best_model_path))

    def log_final_checkpoints(self, best: Path, last: Path) -> None:
        """Log the checkpoints at the end of training as artifacts that the run produced, with the settings of their maps."""
        wanted = {"best": [best], "all": [best, last], "none": []}[self.log_checkpoints]
        for path in wanted:
            if path.is_file():
                self._log_checkpoint(path)

    @rank_zero_only
    def _log_checkpoint(self, path: Path) -> None:
        wandb_artifacts.log_checkpoint(self.experiment, path)

    @rank_zero_only
    def log_evaluation(
        self, evaluation: Evaluation, views: list[SampleView], class_names: Sequence[str], provenance: dict[str, Any]
    ) -> None:
        """Log provenance, curves, images with boxes and masks, and tables. Tables need the server of an online run."""
        import wandb

        run = self.experiment
        run.summary.update(evaluation.metrics)  # an extended or repeated evaluation replaces the earlier one
        run.config.update({"provenance": provenance, "score_map_chosen": evaluation.score_map}, allow_val_change=True)
        wandb_results.log_evaluation(run, evaluation, views, class_names)
        try:
            wandb_results.log_tables(run, evaluation, views, class_names)
        except wandb.errors.Error as error:
            self._warn(f"{first_line(error)}; its tables are in the run folder's .csv files", "run")

    @rank_zero_only
    def log_report(self, study: str, page: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log the comparison of a study's runs to a run of its own, in the study's group.

        Args:
            study: its name, and that of the group unless `group` is set.
            page: HTML.
            columns, rows: of the table.
        """
        import wandb

        init = self._wandb_init
        init["name"], init["job_type"] = init["name"] or f"report {study}", "report"
        init["group"] = init["group"] or _shorten(study, MAX_GROUP)
        self.experiment.log({"report": wandb.Html(page, inject=False)})
        try:
            self.experiment.log({"report_table": wandb.Table(columns=list(columns), data=[list(row) for row in rows])})
        except wandb.errors.Error as error:
            self._warn(f"{first_line(error)}; the table is in the report's folder", "run")

    @rank_zero_only
    def log_error(self, error: BaseException) -> None:
        """Send an alert: the run stopped by a signal or an error. Ctrl-C and a hopeless trial need none."""
        received = error.signal if isinstance(error, RunInterrupted) else None
        if self._experiment is None or received is signal.SIGINT or isinstance(error, RunPruned):
            return
        title = (
            f"Preempted by {received.name}" if received
            else "Loss or weights not finite" if isinstance(error, NonFiniteError)
            else "Training failed"
        )  # fmt: skip
        text = "Resume with the same command and resume=auto." if received else str(error) or type(error).__name__
        self._experiment.alert(title, text, level="WARN" if received else "ERROR")

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
        if self._id_file is not None:
            self._id_file.parent.mkdir(parents=True, exist_ok=True)
            self._id_file.write_text(self._experiment.id, encoding="utf-8")

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
