"""What a finished run keeps of its checkpoints."""

from contextlib import suppress
from pathlib import Path

import torch

from spg_lightning.checkpoints.metadata import read_checkpoint
from spg_lightning.utils.run_dir import RunDir


def share_equal_weights(evaluated: Path, other: Path) -> None:
    """Make `other` a hard link to the evaluated checkpoint if both hold the same weights: they are stored once."""
    if not other.is_file() or other.samefile(evaluated):
        return
    ours, theirs = read_checkpoint(evaluated)[1], read_checkpoint(other)[1]
    if ours.keys() != theirs.keys() or not all(torch.equal(ours[name], theirs[name]) for name in ours):
        return
    link = other.with_name(f".{other.name}.link")
    link.unlink(missing_ok=True)  # what a killed run left
    with suppress(OSError):  # a file system without hard links keeps both
        link.hardlink_to(evaluated)
        link.replace(other)


def remove_unneeded_checkpoints(run_dir: RunDir, evaluated: Path, keep: str, keep_resume_state: bool) -> None:
    """Delete what a finished run is not asked to keep.

    Args:
        run_dir: of the run.
        evaluated: the checkpoint that its metrics are of.
        keep: "all" for the last and the best weights, otherwise the evaluated ones alone.
        keep_resume_state: whether the run may be trained longer.
    """
    unneeded = [run_dir.previous]
    if not keep_resume_state:
        unneeded.append(run_dir.resume)
    if keep != "all":
        unneeded += [path for path in (run_dir.best, run_dir.last) if path != evaluated]
    for path in unneeded:
        path.unlink(missing_ok=True)
