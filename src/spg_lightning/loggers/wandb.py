"""Weights & Biases as a logger that training never waits for: off line without a key or without a network."""

import logging
import netrc
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from spg_lightning.comparison.grouping import variant, variant_name
from spg_lightning.errors import UserError, first_line
from spg_lightning.evaluation.results import Evaluation
from spg_lightning.loggers import wandb_results as dashboard
from spg_lightning.reporting.samples import SampleView

log = logging.getLogger(__name__)
LONGEST = 64  # characters of a tag; of a group: 128


class WandbResultsLogger(WandbLogger):
    """A Weights & Biases run: what every logger gets, and the results as tables, images and curves.

    Runs of one data set, stem and variant are one group, so that a dashboard averages their seeds and compares the rest.

    Args:
        offline: keep the run on disk, for `wandb sync`; None: where no key is found, or the server does not answer.
        timeouts: seconds to wait at most: `reach` for any answer of the server, `start` for it to accept the run,
            `finish` for what is left to send when training is done. Nothing is waited for in between; what was not sent
            stays on disk.
        name, group: None: made from the run's config.
        tags: beside the data set, the stem and what the variant is made of.
        run: of Lightning's WandbLogger and of wandb.init.
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
        """Give the run its config, and name, group and tags from it; before it starts."""
        parts = variant(config)
        data, stem, varied = config["dataset"]["name"], config["stem"]["name"], variant_name(parts)
        init = self._wandb_init
        init["config"] = {**config, "variant": varied}
        init["name"] = init["name"] or f"{varied} seed={config['seed']}"
        init["group"] = init["group"] or f"{data} {stem} {varied}"[: 2 * LONGEST]
        made = [parts["method"], *(f"{key}={value}" for key, value in parts.items() if key != "method")]
        init["tags"] = [tag[:LONGEST] for tag in dict.fromkeys([data, stem, *made, *init["tags"]])]

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, begun when it is first asked for."""
        if self._experiment is None:
            self._begin()
        return self._experiment

    @rank_zero_only
    def log_evaluation(
        self, evaluation: Evaluation, shown: list[SampleView], class_names: Sequence[str], facts: dict[str, Any]
    ) -> None:
        """Add the results to the run: provenance, curves, photos with boxes and masks, tables.

        Tables are left out where a run that began on line has lost its server: wandb would stop for it.
        """
        import wandb

        run = self.experiment
        run.config.update({"provenance": facts, "score_map_chosen": evaluation.score_map}, allow_val_change=True)
        dashboard.log_evaluation(run, evaluation, shown, class_names)
        try:
            if not run.offline and not reachable(server(), self.timeouts["reach"]):
                raise wandb.errors.CommError(f"{server()} does not answer any more")
            dashboard.log_tables(run, evaluation, shown, class_names)
        except wandb.errors.Error as error:
            self._warn(f"{first_line(error)}; its tables are in the run folder's .csv files", "run")

    @rank_zero_only
    def close(self, failed: bool) -> None:
        """End the run, so that the next of this process is another."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(failed))

    def _begin(self) -> None:
        import wandb

        self._wandb_init["settings"] = wandb.Settings(
            init_timeout=self.timeouts["start"], finish_timeout=self.timeouts["finish"], quiet=True
        )
        self._wandb_init.pop("anonymous", None)  # Lightning passes it on, and wandb warns of it
        # not through Lightning's `offline`, which would turn every later run of this process off line, too
        self._wandb_init["mode"] = "offline" if self._stays_offline() else None
        try:
            self._experiment = super().experiment
        except wandb.errors.UsageError as error:
            raise UserError(f"logger=wandb: {first_line(error)}") from error
        except wandb.errors.Error as error:
            self._warn(first_line(error))
            self._wandb_init["mode"] = "offline"
            self._experiment = super().experiment

    def _stays_offline(self) -> bool:
        if os.environ.get("WANDB_MODE", "online") != "online":
            return False  # the environment has decided, and wandb follows it
        if self.offline or (self.offline is None and not has_wandb_key()):
            return True
        if reachable(server(), self.timeouts["reach"]):
            return False
        self._warn(f"{server()} does not answer within {self.timeouts['reach']:g} s")
        return True

    def _warn(self, what: str, kind: str = "offline-run") -> None:
        kept = Path(self.save_dir or ".") / "wandb" / f"{kind}-*"
        log.warning("Weights & Biases: %s; the run is kept on disk: wandb sync %s", what, kept)


def server() -> str:
    """Return the address of Weights & Biases: the public one, or one's own."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def has_wandb_key() -> bool:
    """Tell whether a key for the server is in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(urlsplit(server()).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def reachable(address: str, seconds: float) -> bool:
    """Tell whether a server gives any answer in time; looking up its name counts, which no socket's timeout covers."""
    answered = Event()

    def ask() -> None:
        try:
            urlopen(address, timeout=seconds).close()
        except HTTPError:
            pass  # an answer, too
        except URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # so is a certificate that we do not know, but wandb may
                return
        except OSError:
            return
        answered.set()

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return answered.is_set()
