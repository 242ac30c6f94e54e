"""The progress bar on a terminal of 80 columns."""

import io

import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from rich.console import Console
from rich.progress import Progress, TextColumn

from spg_lightning.callbacks.progress_bar import ProgressBar


def line_of(completed, seconds):
    """Return what the bar shows after steps that took some seconds each."""
    now = [0.0]
    console = Console(file=io.StringIO(), width=80)
    columns = [*ProgressBar(leave=False).configure_columns(None), TextColumn("loss: 12.345")]
    progress = Progress(*columns, console=console, get_time=lambda: now[0])
    task = progress.add_task("epoch 10 of 100", total=1000)
    for _ in range(completed):
        now[0] += seconds
        progress.advance(task)
    console.print(progress.get_renderable())
    return console.file.getvalue()


@pytest.mark.parametrize(("completed", "seconds", "speed"), [(0, 1, ""), (5, 0.25, "4.0 it/s"), (5, 4, "4.0 s/it")])
def test_the_bar_is_one_line_with_a_speed_only_when_it_is_known(completed, seconds, speed):
    shown = line_of(completed, seconds)
    assert shown.count("\n") == 1
    for part in ("epoch 10 of 100", f"{completed}/1000", "loss: 12.345", speed):
        assert part in shown
    assert ("/s" in shown or "s/it" in shown) is bool(speed)


def test_epochs_are_counted_once_and_from_one(monkeypatch, capsys, caplog, tmp_path):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal
    monkeypatch.setenv("COLUMNS", "80")
    caplog.set_level("INFO")
    trainer = pl.Trainer(
        max_epochs=2, limit_train_batches=2, limit_val_batches=1, logger=False, enable_checkpointing=False,
        enable_model_summary=False, accelerator="cpu", callbacks=[ProgressBar(leave=False)], default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(BoringModel())
    shown = capsys.readouterr().out
    assert "epoch 1 of 2" in shown
    assert "Epoch" not in shown
    assert "0.00" not in shown
    assert shown.endswith("\x1b[2K"), "the bar stays"
    assert [record.message.split(":")[0] for record in caplog.records if record.message.startswith("epoch")] == [
        "epoch 1 of 2, step 2", "epoch 2 of 2, step 4",
    ]  # fmt: skip
