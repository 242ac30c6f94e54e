"""A logger of one's own: JSON lines."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class LineLogger(Logger):
    """Appends one JSON object per logged step to `<save_dir>/log.jsonl`."""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.path = Path(save_dir) / "log.jsonl"

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "lines"

    @property
    def version(self) -> str:
        """Not used."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append the metrics of a step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def log_hyperparams(self, params: Any) -> None:
        """Do nothing: the run folder has config.yaml."""
