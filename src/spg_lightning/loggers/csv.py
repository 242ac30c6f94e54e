"""CSV log of a run that resumes: earlier rows are kept, and repeated steps appear once."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.distributed import is_global_zero


class ResumableCSVLogger(CSVLogger):
    """Lightning's `CSVLogger`, which deletes an existing file; see there for the arguments."""

    def __init__(self, save_dir: str, name: str, version: str) -> None:
        super().__init__(save_dir=save_dir, name=name, version=version)
        self._first_step: int | None = None

    def fast_forward(self, step: int) -> None:
        """Keep the rows of the steps before `step`. Call it before anything is logged."""
        self._first_step = step

    @property
    def experiment(self) -> Any:
        """The writer of rank 0; the other ranks have none."""
        if self._experiment is None and is_global_zero():
            Path(self.root_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = ResumableWriter(self.log_dir, self._first_step)
        return super().experiment


class ResumableWriter(ExperimentWriter):
    """Writes the rows.

    Args:
        log_dir: the folder.
        first_step: keep the rows of earlier steps; None starts a new file.
    """

    def __init__(self, log_dir: str, first_step: int | None) -> None:
        self.first_step = first_step
        super().__init__(log_dir)
        if first_step is not None and Path(self.metrics_file_path).is_file():
            self._keep_rows(first_step)

    def _check_log_dir_exists(self) -> None:
        if self.first_step is None:
            super()._check_log_dir_exists()

    def _keep_rows(self, first_step: int) -> None:
        with Path(self.metrics_file_path).open(newline="") as file:
            lines = [line for line in file if line.endswith("\n")]  # a truncated row belongs to a repeated step
            reader = csv.DictReader(lines)
            names = list(reader.fieldnames or ())
            rows = [row for row in reader if str(row.get("step")).isdigit() and int(row["step"]) < first_step]
        self.metrics_keys = names
        self._replace(names, rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Add columns atomically. Lightning empties the file first, and would lose the rows if it died there."""
        with Path(self.metrics_file_path).open(newline="") as file:
            rows = list(csv.DictReader(file))
        self._replace(fieldnames, rows)

    def _replace(self, names: list[str], rows: list[dict[str, Any]]) -> None:
        with atomically(Path(self.metrics_file_path), "w", newline="") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
