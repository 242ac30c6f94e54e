"""An exponential moving average of the weights (EMA), on Lightning's own callback."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from spg_lightning.errors import UserError


class AveragedWeights(WeightAveraging):
    """Averages weights and batch norm's statistics after each step: average = decay * average + (1 - decay) * weights.

    A checkpoint's `state_dict` is the average, so that `best.ckpt` and `last.ckpt` hold what was evaluated; beside it lies
    what training goes on with. Lightning's EMAWeightAveraging differs in three points: it makes the host wait for the device
    at each step; it takes the average over after the last step only where there was one in this call (not in a run that goes
    on with its evaluation); and it swaps it in again in later validations, also over weights that were loaded meanwhile.

    Args:
        decay: in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay={decay}: choose a number from 0 to below 1")
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make room for the average; how many steps are in it is counted by the host, which asks at each step."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            assert self._average_model is not None
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the weights as they are: the checkpoint of the last step is to hold both."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average into the network, for good."""
        assert self._average_model is not None
        self._copy_average_to_current(pl_module)
        self._average_model = None
