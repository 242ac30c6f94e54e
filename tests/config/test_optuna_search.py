"""+sweep=optuna: trials from the study in the sweep's folder, which an interrupted, longer or failed search goes on with."""

import csv
import json
import math
import re

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from spg_lightning import UserError
from spg_lightning.errors import RunPruned
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.study_file import TrialId, open_trial

optuna = pytest.importorskip("optuna", reason="the extra `sweeps` is not installed")
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402

from spg_lightning.config.search_space import split_overrides  # noqa: E402


@pytest.fixture
def search(cli, tmp_path):
    """Return a function that runs a search, of six trials unless its words say how many."""

    def run(*words):
        keys = {word.split("=")[0] for word in words}
        told = [word for word in ("hydra.sweeper.n_trials=6",) if word.split("=")[0] not in keys]
        return cli("train", "+sweep=optuna", *told, f"output_dir={tmp_path}", *words)

    return run


def far_from_06(cfg):
    return abs(cfg.thresholds.b2.high - 0.6)


def rows(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


def highs(ran):
    return [cfg.thresholds.b2.high for cfg in ran]


# --- trials -----------------------------------------------------------------------------------------------------------


def test_the_best_trial_is_found_and_failed_ones_are_tried_again(search, pretend, tmp_path):
    def error(cfg):
        if len(ran) in (2, 4):
            raise UserError("out of luck")
        return far_from_06(cfg)

    ran = pretend(error)
    first = search()
    assert first.code == 1
    assert "4 trained, 0 finished before, 2 failed" in first.err
    assert first.err.endswith("  trial-1: out of luck\n  trial-3: out of luck\n")
    assert len(ran) == 6
    failed = highs(ran)[1:4:2]
    states = [row["state"] for row in rows(tmp_path / "trials.csv")]
    assert states == ["complete", "failed", "complete", "failed", "complete", "complete"]
    good = {k: high for k, high in enumerate(highs(ran)) if high not in failed}
    found = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    assert found["best_value"] == pytest.approx(min(abs(high - 0.6) for high in good.values()))
    assert found["best_params"]["thresholds.b2.high"] in good.values()
    assert f"best: trial-{min(good, key=lambda k: abs(good[k] - 0.6))}, " in first.err

    def stop(cfg):
        raise KeyboardInterrupt

    pretend(stop)
    assert search().code == 130  # before they are tried again
    ran = pretend(far_from_06)
    ran.clear()
    again = search()
    assert again.code == 0, again.err
    assert highs(ran) == failed
    assert "2 trained, 4 finished before, 0 failed" in again.err
    assert [row["status"] for row in rows(tmp_path / "sweep.csv")] == [
        "skipped", "trained", "skipped", "trained", "skipped", "skipped"
    ]  # fmt: skip
    assert {row["state"] for row in rows(tmp_path / "trials.csv")} == {"complete"}
    assert len(list(tmp_path.glob("trial-*"))) == 6, "each in its own folder, where it resumes"


def test_more_trials_go_on_with_the_study(search, pretend, tmp_path):
    ran = pretend(far_from_06)
    sampler = "hydra.sweeper.sampler.n_startup_trials=3"
    first, second = tmp_path / "first", tmp_path / "second"
    for count, folder in ((2, first), (6, first), (6, second)):
        outcome = search(f"hydra.sweeper.n_trials={count}", sampler, f"output_dir={folder}")
        assert outcome.code == 0, outcome.err
    whole = highs(ran)[:6]
    assert whole == highs(ran)[6:]
    assert len(set(whole)) == 6
    assert "0 trained, 6 finished before" in search(sampler, f"output_dir={first}").err
    trials = rows(first / "trials.csv")
    assert [float(row["thresholds.b2.high"]) for row in trials] == whole
    assert [float(row["objective"]) for row in trials] == pytest.approx([abs(high - 0.6) for high in whole])
    assert {row["state"] for row in trials} == {"complete"}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupted_search_runs_the_same_trials(search, pretend, tmp_path, n_jobs):
    jobs = f"hydra.sweeper.n_jobs={n_jobs}"
    ran = pretend(far_from_06)
    search(jobs, f"output_dir={tmp_path / 'whole'}")
    whole = highs(ran)
    del ran[:]

    def interrupted(cfg):
        if len(ran) == 4:
            raise KeyboardInterrupt
        return far_from_06(cfg)

    ran = pretend(interrupted)
    stopped = search(jobs, f"output_dir={tmp_path / 'parts'}")
    assert stopped.code == 130
    assert "sweep stopped by hand after 3 trained" in stopped.err
    ran = pretend(far_from_06)
    again = search(jobs, f"output_dir={tmp_path / 'parts'}")
    assert again.code == 0, again.err
    assert highs(ran) == [*whole[:4], *whole[3:]]
    assert "3 trained, 3 finished before, 0 failed" in again.err
    assert {path.name for path in (tmp_path / "parts").glob("trial-*")} == {f"trial-{k}" for k in range(6)}


def test_a_trial_that_was_killed_before_it_had_values_is_no_run_of_the_defaults(search, pretend, tmp_path):
    ran = pretend(far_from_06)
    search("hydra.sweeper.n_trials=1")
    file = tmp_path / "study.log"
    lines = file.read_text().splitlines(keepends=True)
    create = next(line for line in lines if json.loads(line)["op_code"] == 4)  # a trial begins
    file.write_text("".join([*lines, create]))
    assert search("hydra.sweeper.n_trials=2").code == 0
    assert [row["state"] for row in rows(tmp_path / "trials.csv")] == ["complete", "fail", "complete"]
    assert len(ran) == 2


def test_a_search_in_which_all_trials_fail_ends_with_lines(search, pretend, tmp_path):
    def fail(cfg):
        raise UserError("never")

    pretend(fail)
    outcome = search("hydra.sweeper.n_trials=2")
    assert outcome.code == 1
    assert outcome.err.endswith("  trial-1: never\n")
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "optimization_results.yaml").exists()


def test_a_search_maximizes_and_keeps_the_best_checkpoints_alone(search, pretend, tmp_path):
    def save(cfg):
        run_dir = RunDir(tmp_path / f"trial-{len(ran) - 1}")
        run_dir.checkpoints.mkdir()
        run_dir.last.touch()
        return cfg.thresholds.b2.high

    ran = pretend(save)
    outcome = search("hydra.sweeper.direction=maximize", "keep_checkpoints=best_of_sweep")
    assert outcome.code == 0, outcome.err
    best = highs(ran).index(max(highs(ran)))
    assert yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())["best_value"] == max(highs(ran))
    assert [file.parent.parent.name for file in tmp_path.rglob("last.ckpt")] == [f"trial-{best}"]


def test_an_objective_that_is_no_number_is_a_trial_that_failed(search, pretend, tmp_path):
    ran = pretend(lambda cfg: math.nan if len(ran) == 1 else 5.0)
    assert search("hydra.sweeper.n_trials=2").code == 0
    assert [row["state"] for row in rows(tmp_path / "trials.csv")] == ["failed", "complete"]


# --- pruned ones ------------------------------------------------------------------------------------------------------


def test_a_pruned_trial_is_named_and_not_tried_again(search, pretend, tmp_path):
    def prune(cfg):
        run_dir = RunDir(tmp_path / f"trial-{len(ran) - 1}")
        if len(ran) in (2, 5):
            run_dir.checkpoints.mkdir()
            for file in (run_dir.resume, run_dir.best):
                file.touch()
            open_trial(TrialId(len(ran) - 1, tmp_path)).report(70.0, 40)
            raise RunPruned("val/gt_known_error 70 after 40 % of the training")
        return far_from_06(cfg)

    ran = pretend(prune)
    outcome = search()
    assert outcome.code == 0, outcome.err
    assert "trial-1: pruned (val/gt_known_error 70 after 40 % of the training)\n" in outcome.err
    assert "4 trained, 0 finished before, 2 pruned, 0 failed" in outcome.err
    assert [path.name for path in (tmp_path / "trial-1/checkpoints").iterdir()] == ["best.ckpt"]
    trials = rows(tmp_path / "trials.csv")
    assert [row["state"] for row in trials] == ["complete", "pruned", "complete", "complete", "pruned", "complete"]
    assert (trials[1]["percent_trained"], trials[1]["last_validation"], trials[1]["objective"]) == ("40", "70.0", "")

    again = search("keep_checkpoints=best_of_sweep")
    assert len(ran) == 6
    assert "0 trained, 4 finished before, 2 pruned, 0 failed" in again.err
    assert not list(tmp_path.rglob("best.ckpt"))


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_a_job_asks_the_pruner_of_the_command(search, pretend, tmp_path, pruner):
    names = []

    def look(cfg):
        trial = open_trial(TrialId(0, tmp_path))
        names.append(type(trial.study.pruner).__name__)
        trial.report(50.0, 40)
        assert not trial.should_prune()
        return 50.0

    pretend(look)
    assert search("hydra.sweeper.n_trials=1", f"hydra/sweeper/pruner={pruner}").code == 0
    assert names == [{"median": "MedianPruner", "hyperband": "HyperbandPruner", "none": "NopPruner"}[pruner]]


def test_a_pruned_trial_of_an_unfinished_batch_is_not_trained_again(search, pretend):
    def prune(cfg):
        if len(ran) == 1:
            raise RunPruned("hopeless")
        raise KeyboardInterrupt

    batch = ("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2")
    ran = pretend(prune)
    assert search(*batch).code == 130
    ran = pretend(far_from_06)
    ran.clear()
    assert "1 trained, 0 finished before, 1 pruned, 0 failed" in search(*batch).err
    assert len(ran) == 1


# --- other searches, and mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["method=cam"], r"study\.log is of a search with other overrides \(method=cam\); choose another output_dir"),
        (["objective=val/cls_top1_error"], r"objective=val/cls_top1_error, objective=val/gt_known_error"),
        (["hydra.sweeper.direction=maximize"], r"study\.log is of a search with hydra\.sweeper\.direction=minimize"),
        (["seed=0,1,2"], r"\(seed=0,1,2\)"),
        (["dataset.lr=interval(0.0005,0.005)"], r"\(dataset.lr=float, dataset.lr=tag\(log\) float\)"),
    ],
)
def test_trials_of_different_searches_are_not_mixed(search, pretend, tmp_path, words, line):
    ran = pretend(far_from_06)
    search("hydra.sweeper.n_trials=2")
    outcome = search(*words)
    assert (tmp_path / "study.log").read_text().count('"op_code":4') == 2, "no third trial began"
    assert outcome.code == 1
    assert re.search(f"^error: .*{line}", outcome.err)
    assert len(ran) == 2


def test_what_is_no_difference(search, pretend):
    pretend(far_from_06)
    search("hydra.sweeper.n_trials=1")
    same = (
        "hydra.sweeper.n_trials=2",
        "thresholds.b2.high=interval(0.5,0.7)",
        "keep_checkpoints=evaluated",
        "resume=auto",
        "hydra/sweeper/pruner=none",
    )
    assert search(*same).code == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hydra.sweeper.direction=up"], "error: hydra.sweeper.direction=up: choose minimize or maximize"),
        (["hydra.sweeper.n_trials=0"], "error: hydra.sweeper.n_trials=0: choose a number from 1 on"),
        (["hydra.sweeper.n_jobs=x"], "error: hydra.sweeper.n_jobs=x: choose a number from 1 on"),
        (["hydra.sweeper.n_trials=1.5"], "error: hydra.sweeper.n_trials=1.5: choose a number from 1 on"),
        (["hydra.sweeper.sampler.sed=1"], "sed"),
        (["hydra.sweeper.sampler.seed=x"], "error: hydra.sweeper.sampler: "),
        (["hydra.sweeper.pruner._target_=optuna.pruners.Never"], "optuna.pruners.Never"),
        (
            ["hydra/sweeper/sampler=nothing"],
            "error: hydra/sweeper/sampler=nothing does not exist; choose from random, tpe",
        ),
        (["hydra.sweeper.params=3"], "error: hydra.sweeper.params=3: give each key its values"),
        (
            ["hydra.sweeper.storage=sqlite:///a"],
            "error: hydra.sweeper.storage is gone: the study is study.log in output_dir",
        ),
        (["objective=null"], "error: a search needs an objective"),
        (["seed=range(5,1)"], "error: seed=range(5,1) has no values"),
        (["dataset.lr=interval(0.1,inf)"], "error: dataset.lr=interval(0.1,inf): "),
        (["dataset.lr=tag(lgo,interval(0.1,0.2))"], "the only tag is log, of an interval or a range"),
    ],
)
def test_a_wrong_setting_is_a_line(search, pretend, words, line):
    ran = pretend(far_from_06)
    outcome = search(*words)
    assert outcome.code == 1
    assert line in outcome.err
    assert "Traceback" not in outcome.err
    assert not ran


def test_a_damaged_study_is_a_line_and_its_unfinished_end_is_cut(search, pretend, tmp_path):
    ran = pretend(far_from_06)
    search("hydra.sweeper.n_trials=2")
    file = tmp_path / "study.log"
    good = file.read_text()
    file.write_text(good + '{"op_code":4,"wor')
    assert search("hydra.sweeper.n_trials=3").code == 0
    assert len(ran) == 3
    for damaged in (good[:200] + "\n" + good[200:], '{"op_code":99}\n'):
        file.write_text(damaged)
        outcome = search("hydra.sweeper.n_trials=4")
        assert outcome.code == 1
        assert f"error: {file} is damaged" in outcome.err
        assert "Traceback" not in outcome.err
    file.write_text("my notes, without an end of line")
    assert f"error: {file} is no study of Optuna; move it away" in search("hydra.sweeper.n_trials=4").err
    assert file.read_text() == "my notes, without an end of line"


def test_a_lock_that_a_killed_process_left_does_not_stop_a_search(search, pretend, tmp_path):
    pretend(far_from_06)
    (tmp_path / "study.log.lock").symlink_to("nowhere")
    assert search("hydra.sweeper.n_trials=1").code == 0


# --- the space --------------------------------------------------------------------------------------------------------


def space_of(*words):
    return split_overrides(OverridesParser.create().parse_overrides(list(words)))[1]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=interval(0.1,2)", FloatDistribution(0.1, 2)),
        ("a=tag(log,interval(0.1,2))", FloatDistribution(0.1, 2, log=True)),
        ("a=int(interval(1,5))", IntDistribution(1, 5)),
        ("a=interval(1,5)", FloatDistribution(1, 5)),
        ("a=range(1,6)", IntDistribution(1, 5)),
        ("a=range(1,6,2)", IntDistribution(1, 5, step=2)),
        ("a=range(0.0,1.0,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("a=tag(log,range(1,9))", IntDistribution(1, 8, log=True)),
        ("a=choice(1,x,[2,3])", CategoricalDistribution(["1", "x", "[2,3]"])),
        ("a=cascade,direct", CategoricalDistribution(["cascade", "direct"])),
    ],
)
def test_hydras_words_mean_the_same_values_as_in_a_grid(word, expected):
    assert space_of(word) == {"a": expected}


def test_a_ranges_values_are_those_of_a_grid():
    (override,) = OverridesParser.create().parse_overrides(["a=range(1,12,3)"])
    space = space_of("a=range(1,12,3)")["a"]
    assert [*range(space.low, space.high + 1, space.step)] == list(override.sweep_iterator())


def test_the_last_override_of_a_key_counts():
    fixed, space = split_overrides(
        OverridesParser.create().parse_overrides(["a=interval(0,1.5)", "b=1,2", "c=3", "b=4", "a=interval(2.0,3)"])
    )
    assert fixed == ["b=4", "c=3"]
    assert space == {"a": FloatDistribution(2.0, 3)}


def test_a_prefix_makes_no_other_key():
    fixed, space = split_overrides(OverridesParser.create().parse_overrides(["a=interval(0,1.5)", "+b=1,2", "++a=3"]))
    assert fixed == ["++a=3"]
    assert space == {"+b": CategoricalDistribution(["1", "2"])}


def test_no_space_and_an_impossible_one_are_lines():
    with pytest.raises(UserError, match="nothing to search: give keys a space"):
        space_of("a=1")
    with pytest.raises(UserError, match=r"a=tag\(log,interval\(0,1.5\)\): .*log"):
        space_of("a=tag(log,interval(0,1.5))")


def test_intervals_are_none_of_a_grid(cli):
    outcome = cli("train", "-m", "thresholds.b2.high=interval(0.5,0.9)")
    assert outcome.code == 1
    assert "thresholds.b2.high=interval(0.5,0.9): a grid has no such values" in outcome.err


def test_a_space_on_the_command_line_replaces_the_presets(search, pretend):
    ran = pretend(far_from_06)
    assert search("thresholds.b2.high=interval(0.85,0.9)", "seed=3,4").code == 0
    assert all(0.85 <= high <= 0.9 for high in highs(ran))
    assert {cfg.seed for cfg in ran} == {3, 4}
    assert not any(math.isclose(a, b) for a, b in zip(highs(ran), highs(ran)[1:], strict=False))
