"""Best checkpoint: its metric is one that is measured, and its run may be moved, or resume in another folder."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from spg_lightning.errors import UserError, nearest


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which forgets the best score when its folder's path changes."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the best checkpoint. Lightning calls this.

        Raises:
            UserError: validation does not measure what is monitored.
        """
        known = [*trainer.callback_metrics, "epoch", "step"]
        if self.monitor is not None and self.monitor not in known and not trainer.sanity_checking:
            raise UserError(
                f"callbacks.best.monitor={self.monitor}: no such metric; choose val/objective, or a column of metrics.csv."
                f"{nearest(self.monitor, known)}"
            )
        super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best scores, with the paths rebased to the current folder."""

        def rebase(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        super().load_state_dict(
            {
                **state_dict,
                "dirpath": self.dirpath,
                "best_k_models": {rebase(path): score for path, score in state_dict["best_k_models"].items()},
                **{name: rebase(state_dict[name]) for name in paths},
            }
        )
