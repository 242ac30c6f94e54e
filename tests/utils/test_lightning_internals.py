"""The contract with Lightning's private parts: each test names the part that a new version changed."""

import inspect

import pytest
import pytorch_lightning as pl
import wandb
from pytorch_lightning.callbacks import RichProgressBar, WeightAveraging
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch.utils.data import DataLoader

from spg_lightning.utils.lightning_internals import batches_done, dump_checkpoint, normalize_loop_state

COUNTS = {"ready", "started", "processed", "completed"}


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A trainer after two of three batches of its first epoch."""
    from pytorch_lightning.demos.boring_classes import BoringModel, RandomDataset

    class Stop(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if index == 2:
                checkpoints.append((dump_checkpoint(trainer), batches_done(trainer)))

    checkpoints = []
    trainer = pl.Trainer(
        max_epochs=1, limit_val_batches=0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", callbacks=[Stop()],
        default_root_dir=tmp_path_factory.mktemp("lightning"),
    )  # fmt: skip
    trainer.fit(BoringModel(), DataLoader(RandomDataset(32, 3)))
    trainer.saved = checkpoints[0]
    return trainer


def test_the_checkpoint_connector_dumps_a_full_checkpoint(trainer):
    checkpoint, _ = trainer.saved
    missing = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step"} - set(
        checkpoint
    )
    assert not missing, f"Lightning's dump_checkpoint no longer has {missing}; see lightning_internals.dump_checkpoint"


def test_the_loop_counts_batches(trainer):
    assert trainer.saved[1] == 2, "fit_loop.epoch_loop.batch_progress.current.completed has another meaning"


def test_the_state_of_the_fit_loop_has_the_known_keys(trainer):
    state = trainer.saved[0]["loops"]["fit_loop"]
    needed = {"epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict"}
    assert needed <= set(state), (
        f"the fit loop's state has {sorted(state)}; see lightning_internals.normalize_loop_state"
    )
    assert set(state["epoch_progress"]["current"]) == COUNTS
    assert COUNTS - {"processed"} <= set(state["epoch_loop.batch_progress"]["current"])
    assert "_batches_that_stepped" in state["epoch_loop.state_dict"], "Lightning renamed the steps that it logs by"
    normalized = normalize_loop_state(trainer, state, between_epochs=False)
    assert normalized["epoch_loop.batch_progress"]["current"]["ready"] == 2


@pytest.mark.parametrize("name", ["_should_check_val_epoch", "_broadcast_sigterm_tensor"])
def test_the_epoch_loop_has_its_private_methods(trainer, name):
    method = getattr(trainer.fit_loop.epoch_loop, name, None)
    assert callable(method), f"Lightning's training epoch loop no longer has {name}; see lightning_internals"


def test_the_script_launcher_kills_and_lists_its_processes():
    launcher = _SubprocessScriptLauncher.__new__(_SubprocessScriptLauncher)
    launcher.procs = []
    launcher.kill(9)  # signature: one signal
    assert "self.procs" in inspect.getsource(_SubprocessScriptLauncher), "the launcher keeps its processes elsewhere"


@pytest.mark.parametrize(
    ("base", "name"),
    [(ExperimentWriter, "_check_log_dir_exists"), (ExperimentWriter, "_rewrite_with_new_header"),
     (RichProgressBar, "_update_metrics"), (RichProgressBar, "_init_progress"), (RichProgressBar, "_get_train_description"),
     (WeightAveraging, "_copy_average_to_current")],
)  # fmt: skip
def test_protected_methods_that_this_package_overrides_or_calls(base, name):
    assert callable(getattr(base, name, None)), f"{base.__name__}.{name} is gone from Lightning; see its subclass here"


def test_the_moving_average_has_its_protected_attributes():
    average = WeightAveraging()
    for name in ("_average_model", "_latest_update_step"):
        assert hasattr(average, name), f"WeightAveraging.{name} is gone from Lightning; see callbacks.ema"


def test_the_loggers_have_their_protected_attributes(tmp_path):
    assert hasattr(CSVLogger(tmp_path), "_experiment"), "CSVLogger._experiment is gone from Lightning; see loggers.csv"
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    for name in ("_wandb_init", "_experiment"):
        assert hasattr(logger, name), f"WandbLogger.{name} is gone from Lightning; see loggers.wandb"


def test_wandb_has_the_protected_method_of_artifacts():
    message = "wandb.Run._log_artifact is gone or takes no use_after_commit; see loggers.wandb_artifacts"
    assert "use_after_commit" in inspect.signature(wandb.Run._log_artifact).parameters, message
