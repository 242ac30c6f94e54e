"""The help of a command: its own groups, and values that are paths."""

import pickle
from importlib.resources import files

import pytest
from hydra.core.singleton import Singleton

from spg_lightning.config import command_help
from spg_lightning.config.command_help import WITH_PLUS, groups_of, register_help_resolver
from spg_lightning.config.compose import choices_of
from spg_lightning.config.overrides import quote_existing_paths

COMMANDS = ("train", "evaluate", "predict", "prepare", "report", "convert", "export", "push")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_commands_own_groups_and_no_others(command, cli):
    shown = cli(command, "--help").out
    assert all(len(line) <= 80 for line in shown.partition("== Config ==")[0].splitlines())
    groups = shown.partition("(group=choice) ==\n")[2].partition("== Config ==")[0]
    groups = groups.replace("\n  ", " ")  # a long line goes on below
    listed = {line.partition(":")[0]: line.partition(": ")[2] for line in groups.splitlines() if ":" in line}
    expected = {*groups_of(command), *(f"+{group}" for group in WITH_PLUS.get(command, ()))}
    assert set(listed) == expected
    for group, choices in listed.items():
        assert choices.split(", ") == choices_of(group.lstrip("+"))
    assert "$" not in groups


def test_a_start_looks_for_the_choices_once(cli, monkeypatch):
    groups = []
    monkeypatch.setattr(command_help, "choices_of", lambda group: groups.append(group) or [])
    cli("evaluate", "--help")
    assert sorted(groups) == sorted(groups_of("evaluate"))


def test_every_group_belongs_to_a_command():
    folders = {folder.name for folder in files("spg_lightning.conf").iterdir() if folder.is_dir()}
    known = {group for command in COMMANDS for group in (*groups_of(command), *WITH_PLUS.get(command, ()))}
    assert folders - {"hydra", "tuned", "__pycache__"} <= known


def test_only_values_that_name_existing_paths_are_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("fol[a]der", "a,b", "it's {x}"):
        (tmp_path / name).mkdir()
    (tmp_path / "fol[a]der" / "x.jpg").touch()
    words = ["images=fol[a]der", "root=a,b", "images=it's {x}"]
    assert quote_existing_paths(words) == ["images='fol[a]der'", "root='a,b'", "images='it\\'s {x}'"]
    same = [
        "seed=0,1",
        "score_map.name=[b1,c]",
        "images='fol[a]der'",
        "a.b=c",
        "-m",
        "~logger",
        "images=nowhere[1]",
        "x=",
    ]
    assert quote_existing_paths(same) == same


def test_what_launchers_pickle_for_jobs_elsewhere_can_be_pickled():
    """Joblib and submitit send Hydra's state with each job."""
    cloudpickle = pytest.importorskip("cloudpickle")
    register_help_resolver()
    loaded = pickle.loads(cloudpickle.dumps(Singleton.get_state()))
    assert loaded.keys() == Singleton.get_state().keys()
