"""Tests of the warning about masks without background."""

from types import SimpleNamespace

import torch

from spg_lightning.callbacks.collapse_warning import CollapseWarning


def test_a_branch_is_named_once_and_not_in_the_first_epoch(caplog):
    metrics = {"train/mask_b1/foreground": torch.tensor(0.99), "train/mask_c/foreground": torch.tensor(0.4)}
    callback = CollapseWarning()
    for epoch in range(3):
        trainer = SimpleNamespace(
            current_epoch=epoch, callback_metrics={**metrics, "train/mask_b1/ignored": torch.tensor(1.0)}
        )
        callback.on_train_epoch_end(trainer, None)
        assert len(caplog.records) == (epoch > 0)
    assert "epoch 2: the masks that supervise b1 are 99% foreground" in caplog.text


def test_a_run_logs_what_it_reads(tiny_run):
    result, _ = tiny_run
    headers = [path.read_text().splitlines()[0] for path in result.output_dir.rglob("*.csv")]
    assert any("train/mask_b1/foreground" in header for header in headers)
