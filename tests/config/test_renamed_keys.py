"""An old key or value gives one line with the new one."""

import pytest

from spg_lightning import compose
from spg_lightning.config.renamed_keys import RENAMED_KEYS, RENAMED_VALUES


@pytest.mark.parametrize("old", RENAMED_KEYS)
def test_an_old_key_names_the_new_one(cli, old):
    outcome = cli("train", f"{old}=0.5")
    assert outcome.code == 1
    assert outcome.line == f"error: {old} is now called {RENAMED_KEYS[old]}"


def test_keys_below_an_old_one(cli):
    assert (
        cli("train", "logger.patience.start=5").line
        == "error: logger.patience.start is now called logger.timeouts.start"
    )
    line = cli("train", "module.loss.thresholds.b1.high=0.4").line
    assert line == "error: module.loss.thresholds.b1.high is now called thresholds.b1.high"


@pytest.mark.parametrize("old", RENAMED_VALUES)
def test_an_old_value_names_the_new_one(cli, old):
    assert (
        cli("train", f"stem.b2_input={old}").line == f"error: stem.b2_input={old} is now called {RENAMED_VALUES[old]}"
    )


WITH = {"dataset.reader": ["dataset=folder"], "logger": ["logger=wandb"], "schedule": ["schedule=warmup_cosine"]}


@pytest.mark.parametrize("new", sorted(set(RENAMED_KEYS.values())))
def test_the_new_keys_exist(new):
    words = next((words for prefix, words in WITH.items() if new.startswith(prefix)), [])
    node = compose("train", [*words, "output_dir=x"])
    for name in new.split("."):
        assert name in node, new
        node = node[name]
