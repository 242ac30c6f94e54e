"""Best checkpoint of a run whose folder was moved, or that resumes in another one."""

from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which forgets the best score when its folder's path changes."""

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
