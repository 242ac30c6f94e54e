"""best.ckpt of a run whose folder was moved, or that goes on in another one."""

from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which would forget how good the best was where its folder is another; see there."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the memory of before over, with the files where they are now; `taking_over` puts them there."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        super().load_state_dict(
            {
                **state_dict,
                "dirpath": self.dirpath,
                "best_k_models": {here(path): score for path, score in state_dict["best_k_models"].items()},
                **{
                    name: here(state_dict[name])
                    for name in ("best_model_path", "kth_best_model_path", "last_model_path")
                },
            }
        )
