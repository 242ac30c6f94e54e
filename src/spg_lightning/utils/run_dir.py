"""Every file name of a run folder, once."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDir:
    """The files of one training run.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config. With `provenance` it marks a training run."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The final metrics."""
        return self.path / "metrics.json"

    @property
    def provenance(self) -> Path:
        """Commit, versions, device, seed, command and time. Written last: its presence marks a finished run."""
        return self.path / "provenance.json"

    @property
    def log(self) -> Path:
        """The CSV logger's rows over training."""
        return self.path / "metrics.csv"

    @property
    def wandb_id(self) -> Path:
        """The id of the Weights & Biases run, which a resumed run continues."""
        return self.path / "wandb_id.txt"

    @property
    def curves(self) -> Path:
        """Counts at every threshold."""
        return self.path / "curves.csv"

    @property
    def pseudo_boxes(self) -> Path:
        """The boxes that stood in for ground truth on val, if there were any; rows as in the benchmark's localization.txt."""
        return self.path / "pseudo_boxes.txt"

    @property
    def images(self) -> Path:
        """Class, box and IoU of each test image."""
        return self.path / "images.csv"

    @property
    def score_maps(self) -> Path:
        """Every metric of every score map."""
        return self.path / "score_maps.csv"

    @property
    def plot(self) -> Path:
        """Accuracy over threshold."""
        return self.path / "curves.png"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.path / "report.html"

    @property
    def gallery(self) -> Path:
        """The folder of overlays."""
        return self.path / "gallery"

    @property
    def seeds(self) -> Path:
        """The folder of the seed maps of later rounds."""
        return self.path / "seeds"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The weights after the last step."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The best weights on val."""
        return self.checkpoints / "best.ckpt"

    @property
    def resume(self) -> Path:
        """The newest checkpoint to resume from."""
        return self.checkpoints / "resume.ckpt"

    @property
    def previous(self) -> Path:
        """The resume checkpoint before `resume`."""
        return self.checkpoints / "resume.previous.ckpt"

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds a finished training run."""
        return all(path.is_file() for path in (self.provenance, self.metrics, self.config))

    @property
    def is_used(self) -> bool:
        """Whether the folder holds a training run, finished or not. One that ended before its first checkpoint has left nothing."""
        return self.is_finished or (self.checkpoints.is_dir() and any(self.checkpoints.iterdir()))

    def clear(self, keep: Iterable[Path] = ()) -> None:
        """Delete the files of a training run, except those to keep. Other files in the folder stay."""
        kept = {path.resolve() for path in keep}
        for path in self.checkpoints.glob("*") if self.checkpoints.is_dir() else ():
            if path.is_file() and path.resolve() not in kept:
                path.unlink()
        results = (
            self.metrics, self.curves, self.images, self.score_maps, self.plot, self.report, self.pseudo_boxes
        )  # fmt: skip
        for path in (self.provenance, self.config, self.log, *results):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.gallery, ignore_errors=True)
        if not kept:  # a resumed run continues with its seeds
            shutil.rmtree(self.seeds, ignore_errors=True)
