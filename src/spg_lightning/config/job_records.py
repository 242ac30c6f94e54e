"""Records of a sweep's jobs: one file a job, written by any process or machine."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from spg_lightning.utils.atomic import replacing


@dataclass(frozen=True)
class Job:
    """One job of a sweep: number, name, folder, status (`trained`, `skipped` or `failed`), objective and error."""

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
        return f"{self.name}: {self.status}"


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

    def clear(self) -> None:
        """Delete the records of an earlier call."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("[!.]*"):  # not the lock
            file.unlink()

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
