"""The trainer's plugin that writes weights. A file of its own: readers of checkpoints do without Lightning."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from spg_lightning.checkpoints.io import atomic_save
from spg_lightning.checkpoints.metadata import KEY
from spg_lightning.errors import UserError

KEPT = ("state_dict", KEY, "epoch", "global_step", "pytorch-lightning_version")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Trainer plugin that writes every checkpoint with `atomic_save`, without the state of the training.

    A run resumes from the checkpoints of `ResumableCheckpoint`, which holds the optimizer's momentum and all else.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the weights and the metadata of a checkpoint; see `atomic_save`."""
        try:
            atomic_save({key: checkpoint[key] for key in KEPT if key in checkpoint}, Path(path))
        except UserError as error:
            raise UserError(
                f"{error}; the previous file is unchanged: make room, then resume with resume=auto"
            ) from error
