"""The rank and the restart of a process, from its environment."""

import pytest

from spg_lightning.utils.distributed import is_global_zero, is_restart


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),  # started by hand on a further machine
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),  # the same, once Lightning has started the others there
        ({"NODE_RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),  # started by Lightning inside a Slurm job
        ({"SLURM_PROCID": "0"}, True),
    ],
)
def test_the_main_process(monkeypatch, environment, main):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_global_zero() == main


@pytest.mark.parametrize("name", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_a_restarted_run(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    assert not is_restart()
    monkeypatch.setenv(name, "0")
    assert not is_restart()
    monkeypatch.setenv(name, "1")
    assert is_restart()
