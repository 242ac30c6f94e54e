"""Artifacts of a Weights & Biases run: the data set's index that it uses, the checkpoints that it produces."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spg_lightning.data.records import Records


def use_dataset(run: Any, name: str, splits: Mapping[str, Records]) -> None:
    """Declare the data set's index as an artifact that a run uses; waits for no server.

    Args:
        run: of wandb.
        name: of the data set.
        splits: split -> its images; the artifact lists them in `index.csv` with class and boxes (x0 y0 x1 y1 in pixels).
    """
    import wandb

    artifact = wandb.Artifact(f"{name}-index", type="dataset", metadata={s: len(r) for s, r in splits.items()})
    with artifact.new_file("index.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "image", "class", "boxes"))
        for split, records in splits.items():
            for index, image in enumerate(records.images):
                boxes = "; ".join(" ".join(f"{corner:g}" for corner in box) for box in records.boxes_of(index))
                writer.writerow((split, image, records.class_names[records.labels[index]], boxes))
    # as `use_artifact`, which refuses offline runs and waits for the server
    run._log_artifact(artifact, use_after_commit=True)


def log_checkpoint(run: Any, path: Path) -> None:
    """Log a checkpoint as an artifact that a run produced. Its alias is the file's name: `best` or `last`."""
    import wandb

    artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model")
    artifact.add_file(str(path))
    run.log_artifact(artifact, aliases=["latest", path.stem])
