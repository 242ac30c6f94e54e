"""Records of a sweep's jobs: one file a job, written by any process or machine."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from spg_lightning.utils.atomic import replacing


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        number: of the job.
        name: what sets it apart from the others.
        folder: of its run.
        status: `trained`, `skipped` (finished before), `pruned` (a hopeless trial of a search) or `failed`.
        objective: that a search minimizes or maximizes, None without one.
        error: why it failed, or was pruned.
    """

    number: int
    name: str
    folder: str
    status: str
    objective: float | None
    error: str

    @property
    def outcome(self) -> str:
        """The line about a job that ended."""
        if self.status == "skipped":
            return f"{self.name}: finished before, skipped ({self.folder})"
        if self.status == "failed":
            return f"{self.name}: failed ({self.error}); the sweep continues"
        if self.status == "pruned":
            return f"{self.name}: pruned ({self.error})"
        return f"{self.name}: {self.status}"


def job_name(folder: Path, sweep_folder: Path) -> str:
    """Return the name of a job: its folder in the sweep's. A sweep over nothing shares that with its only job."""
    return os.path.relpath(folder, sweep_folder) if folder.absolute() != sweep_folder.absolute() else folder.name


@dataclass(frozen=True)
class JobRecords:
    """The records of one call of a sweep.

    Attributes:
        folder: holds them.
    """

    folder: Path

    @classmethod
    def of_sweep(cls, folder: Path) -> "JobRecords":
        """Return the records in the folder of a sweep."""
        return cls(folder / ".jobs")

    def begin(self, keep_ended: bool) -> None:
        """Delete the records of an earlier call.

        Args:
            keep_ended: keep those of the jobs that did not fail, as finished before.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        ended = [job for job in self.all() if job.status != "failed"] if keep_ended else []
        for file in self.folder.glob("[!.]*"):  # not the lock
            file.unlink()
        for job in ended:
            self.write(job if job.status == "pruned" else replace(job, status="skipped"))

    def write(self, job: Job) -> None:
        """Write the record of a job."""
        with replacing(self._record(job.number)) as file:
            file.write(json.dumps(asdict(job)).encode() + b"\n")

    def read(self, number: int) -> Job | None:
        """Return the record of a job, None if it did not end."""
        path = self._record(number)
        return Job(**json.loads(path.read_text())) if path.is_file() else None

    def all(self) -> list[Job]:
        """Return the records of the jobs, in order."""
        found = [Job(**json.loads(file.read_text())) for file in self.folder.glob("[!.]*.json")]
        return sorted(found, key=lambda job: job.number)

    def error(self, number: int) -> Path:
        """Return the file for the error message of a job's process."""
        return self.folder / f"{number}.error"

    def log(self, number: int) -> Path:
        """Return the file for the output of a job, where several run at once."""
        return self.folder / f"{number}.log"

    def _record(self, number: int) -> Path:
        return self.folder / f"{number}.json"
