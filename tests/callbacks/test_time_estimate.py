"""Length on few images, and the line that says how long it takes."""

import re

from omegaconf import OmegaConf

from spg_lightning.utils.durations import duration
from tests.callbacks.helpers import rows, run


def test_few_images_get_more_epochs_and_a_line_says_how_long(cub, tmp_path, caplog):
    """24 images, batches of 4: an epoch has 6 steps."""
    caplog.set_level("INFO")
    run(
        cub, tmp_path, "trainer.max_epochs=2", "min_train_steps=20", "trainer.log_every_n_steps=1",
        "+callbacks.time._target_=spg_lightning.callbacks.time_estimate.TimeEstimate",
    )  # fmt: skip
    steps = {int(row["step"]) for row in rows(tmp_path) if "train/loss_total" in row}
    an_epoch = len({row["step"] for row in rows(tmp_path) if row.get("epoch") == "0" and "train/loss_total" in row})
    epochs = -(-20 // an_epoch)
    assert len(steps) == an_epoch * epochs
    config = OmegaConf.load(tmp_path / "config.yaml")
    assert (config.trainer.max_epochs, config.trainer.check_val_every_n_epoch) == (epochs, epochs // 2)
    assert f"{epochs} epochs instead of 2: few images, and min_train_steps=20" in caplog.text
    left = an_epoch * epochs - 4
    assert re.search(rf"training: {left} steps left, [\d.]+ s each on this CPU: about \d+ s", caplog.text)


def test_many_images_keep_their_epochs(cub, tmp_path):
    run(cub, tmp_path, "trainer.max_epochs=2", "min_train_steps=3")
    assert OmegaConf.load(tmp_path / "config.yaml").trainer.max_epochs == 2


def test_durations_have_one_number():
    assert [duration(s) for s in (3.4, 99, 125, 5900, 7300)] == ["3 s", "99 s", "2 min", "98 min", "2 h"]
