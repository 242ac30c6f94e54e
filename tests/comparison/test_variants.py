"""Runs of one name that differ in the seed alone are one variant."""

from dataclasses import replace
from pathlib import Path

import pytest

from spg_lightning import UserError
from spg_lightning.comparison.runs import Run
from spg_lightning.comparison.variants import group_runs, inconsistent_settings, published_name, reference_of
from spg_lightning.utils.config_keys import leaves
from spg_lightning.utils.run_dir import RunDir
from tests.comparison.fabricate import config_of


def run(*overrides, name="r", seed=0, started="2025-01-01", drop=()):
    config = config_of(*overrides)
    values = dict(leaves(config)) | {"seed": seed, "data.seed": seed}
    kept = {key: str(value) if isinstance(value, list) else value for key, value in values.items() if key not in drop}
    made = {"seed": seed, "started": started}
    return Run(RunDir(Path(name)), name, config["dataset"]["name"], kept, tuple(config["variant"]), {}, made)


def labels(*runs):
    return [v.label for v in group_runs(runs)[0]]


def test_a_variant_has_a_run_per_seed():
    variants, left_out = group_runs([run(seed=10), run("method=spg_plain"), run(seed=2), run(seed=1)])
    assert [(v.label, [r.seed for r in v.runs]) for v in variants] == [("SPG", [1, 2, 10]), ("SPG-plain", [0])]
    assert [v.settings for v in variants] == [(), ("method=spg_plain",)]
    assert not left_out


def test_switches_are_named_where_they_differ_from_the_default():
    found = labels(
        run("guidance=direct", "fuse=off"), run("method=cam"), run("shared_weights=off"), run("guidance=direct"), run()
    )
    assert found == [
        "SPG", "SPG shared_weights=off", "SPG guidance=direct", "SPG fuse=off guidance=direct", "CAM",
    ]  # fmt: skip
    assert labels(run("ablation=direct"), run("ablation=spg")) == ["SPG", "SPG guidance=direct"]


def test_settings_that_all_runs_share_are_not_named():
    shared = ("experiment=cub20_small", "module.freeze=none", "dataset.lr=0.5", "variant=null")
    variants, _ = group_runs([run(*shared), run(*shared, "method=cam"), run(*shared, "module.channels_last=false")])
    assert [v.label for v in variants] == ["SPG", "SPG module.channels_last=false", "CAM"]
    assert [v.is_default for v in variants] == [True, False, False]


def test_numbers_that_vary_are_always_named_and_ordered_by_size():
    runs = [run(f"thresholds.b2.high={h}", f"thresholds.b2.low={low}") for h in (0.7, 0.65) for low in (0.1, 0.05)]
    variants, _ = group_runs(runs)
    assert [v.settings for v in variants] == [
        (f"thresholds.b2.high={h}", f"thresholds.b2.low={low}") for h in (0.65, 0.7) for low in (0.05, 0.1)
    ]
    assert variants[0].label == "SPG b2.high=0.65 b2.low=0.05"
    assert variants[0].values == {"thresholds.b2.high": 0.65, "thresholds.b2.low": 0.05}
    assert [v.is_default for v in variants] == [False, False, False, True]


def test_of_a_path_the_file_is_named_where_that_tells_it_apart():
    one, two = (run(f"data.merge_classes=/home/me/birds/{name}.csv", name=name) for name in ("kinds", "sizes"))
    assert labels(run(name="r0"), one, two) == [
        "SPG",
        "SPG data.merge_classes=kinds.csv",
        "SPG data.merge_classes=sizes.csv",
    ]
    other = run("data.merge_classes=/home/you/kinds.csv", name="other")
    assert labels(one, two, other) == [
        "SPG data.merge_classes=/home/me/birds/kinds.csv",
        "SPG data.merge_classes=sizes.csv",
        "SPG data.merge_classes=/home/you/kinds.csv",
    ]
    assert reference_of(group_runs([one, two])[0], "SPG data.merge_classes=kinds.csv").runs == (one,)


def test_a_named_set_is_named():
    assert labels(run(), run("thresholds=benchmark_cub_vgg16")) == ["SPG", "SPG thresholds=benchmark_cub_vgg16"]
    assert labels(run(), run("thresholds=author_code")) == ["SPG", "SPG thresholds=author_code"]


def test_what_follows_from_a_choice_is_not_named():
    assert labels(run(), run("stem=vgg16", "dataset=cub")) == ["SPG", "SPG dataset=cub stem=vgg16"]
    assert labels(run("method=cutmix"), run("method=has")) == ["HaS", "CutMix"]


def test_what_departs_from_a_choice_is_named():
    found = labels(run(), run("stem=vgg16"), run("stem=vgg16", "stem.map_size=14"))
    assert found == ["SPG stem.map_size=28", "SPG stem=vgg16 stem.map_size=14", "SPG stem=vgg16 stem.map_size=28"]
    assert labels(run(), run("optimizer.lr=0.5"))[1] == "SPG optimizer.lr=0.5"  # by default dataset.lr
    assert labels(run("trainer.max_epochs=2"), run("trainer.max_epochs=10")) == [
        "SPG trainer.max_epochs=2", "SPG trainer.max_epochs=10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "where",
    [
        "dataset.root=b",
        "output_dir=y",
        "data.num_workers=0",
        "logger=none",
        "gallery_images=3",
        "resume=auto",
        "checkpoint_every_steps=7",
        "objective=test/pxap",
        "debug=true",
    ],
)
def test_where_a_run_was_made_does_not_matter(where):
    variants, _ = group_runs([run("dataset=cub"), run("dataset=cub", where, seed=1)])
    assert [v.label for v in variants] == ["SPG"]
    assert inconsistent_settings(variants) == []


def test_a_run_older_than_a_key_has_its_default():
    assert labels(run(seed=0), run(seed=1, drop=("eval_checkpoint",))) == ["SPG"]
    assert labels(run("eval_checkpoint=best"), run(drop=("eval_checkpoint",))) == ["SPG", "SPG eval_checkpoint=best"]


def test_a_users_own_name_is_the_label():
    named = run("variant=[mine]", "guidance=direct")
    assert labels(run(), named, run("variant=[mine]", "method=cam")) == ["SPG", "SPG mine", "CAM mine"]
    assert published_name(named) is None


def test_data_sets_of_one_name_are_told_apart_by_their_images():
    small, large = (
        replace(run(seed=seed), name=f"r{seed}", provenance={"photos": {"train": count, "test": 9}})
        for seed, count in enumerate((20, 300))
    )
    variants, _ = group_runs([small, large])
    assert [v.label for v in variants] == ["SPG images=[20,9]", "SPG images=[300,9]"]
    assert [v.data for v in variants] == ["toybirds, [20,9] images", "toybirds, [300,9] images"]
    assert labels(small, replace(large, provenance=small.provenance)) == ["SPG"]
    other = replace(large, data="cub", config=large.config | {"dataset.name": "cub"}, variant=("dataset=cub",))
    assert labels(small, other) == ["SPG", "SPG dataset=cub"]


def test_a_seed_that_was_run_twice_counts_once():
    variants, left_out = group_runs([run(name="new", started="2025-02-01"), run(name="old"), run(name="b", seed=1)])
    assert [[r.name for r in v.runs] for v in variants] == [["new", "b"]]
    assert left_out == ["old: same settings and seed as new, and older"]


def test_runs_of_one_name_with_other_settings_are_told():
    first, second = run(name="a"), run(name="b", seed=1)
    changed = replace(second, config=second.config | {"trainer.precision": "bf16-mixed", "module.freeze": "a1"})
    variants, _ = group_runs([first, changed])
    assert inconsistent_settings(variants) == ["b has module.freeze=a1, a has none, and 1 more"]


def test_the_reference():
    variants, _ = group_runs([run("guidance=direct"), run("method=spg_plain"), run()])
    assert reference_of(variants, None).label == "SPG"
    for wanted in ("method=spg_plain", "SPG-plain"):
        assert reference_of(variants, wanted).label == "SPG-plain"
    for wanted in ("guidance=direct", "SPG guidance=direct"):
        assert reference_of(variants, wanted).label == "SPG guidance=direct"
    with pytest.raises(UserError, match=r"no variant; choose from SPG; .*Did you mean 'SPG-plain'"):
        reference_of(variants, "SGP-plain")


def test_without_plain_spg_the_first_is_the_reference():
    variants, _ = group_runs([run("method=spg_plain"), run("method=acol")])
    assert reference_of(variants, None) is variants[0]


def test_a_title_alone_is_ambiguous_in_a_sweep():
    variants, _ = group_runs([run(), run("thresholds.b2.high=0.6")])
    with pytest.raises(UserError, match="several variants"):
        reference_of(variants, "SPG")


def test_published_names():
    assert published_name(run()) == "spg"
    assert published_name(run("method=has", "guidance=direct")) == "has"
    assert published_name(run("fuse=off", "shared_weights=off")) == "spg shared_weights=off fuse=off"
    assert published_name(run("ablation=no_c")) == "spg fuse=off"
    assert published_name(run("thresholds.b2.high=0.6")) is None
