"""Runs that differ in the seed alone are one variant, named by what differs."""

from pathlib import Path

import pytest

from spg_lightning import UserError
from spg_lightning.comparison.presets import defaults, flatten
from spg_lightning.comparison.runs import Run
from spg_lightning.comparison.variants import canonical, reference_of, variants_of
from tests.comparison.fabricate import config_of


def run(*overrides, name="r", seed=0, started="2025-01-01", drop=(), **changed):
    config = dict(flatten(config_of(*overrides))) | {"seed": seed, "data.seed": seed} | changed
    kept = {key: value for key, value in config.items() if key not in drop}
    return Run(Path(name), name, kept, {}, {"seed": seed, "started": started})


def labels(*runs):
    return [v.label for v in variants_of(runs)[0]]


def test_a_variant_has_a_run_a_seed():
    variants, left_out = variants_of([run(seed=10), run("method=spg_plain"), run(seed=2), run(seed=1)])
    assert [(v.label, [r.seed for r in v.runs]) for v in variants] == [("SPG", [1, 2, 10]), ("SPG-plain", [0])]
    assert [v.settings for v in variants] == [(), ("method=spg_plain",)]
    assert not left_out


def test_switches_are_named_where_they_differ_from_the_default():
    found = labels(
        run("guidance=direct", "fuse=off"), run("method=cam"), run("shared_weights=off"), run("guidance=direct"), run()
    )
    assert found == [
        "SPG", "SPG shared_weights=off", "SPG guidance=direct", "SPG guidance=direct fuse=off", "CAM",
    ]  # fmt: skip


def test_numbers_that_vary_are_always_named_and_ordered_by_size():
    runs = [run(f"thresholds.b2.high={h}", f"thresholds.b2.low={low}") for h in (0.7, 0.65) for low in (0.1, 0.05)]
    variants, _ = variants_of(runs)
    assert [v.settings for v in variants] == [
        (f"thresholds.b2.high={h}", f"thresholds.b2.low={low}") for h in (0.65, 0.7) for low in (0.05, 0.1)
    ]
    assert variants[0].label == "SPG b2.high=0.65 b2.low=0.05"
    assert [v.default for v in variants] == [False, False, False, True]


def test_a_named_set_is_named_where_many_of_its_numbers_differ():
    assert labels(run(), run("thresholds=benchmark_cub_vgg16")) == ["SPG", "SPG thresholds=benchmark_cub_vgg16"]
    assert labels(run(), run("thresholds=author_code")) == ["SPG b2.low=0.05", "SPG b2.low=0.1"]


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
    assert labels(run("dataset=cub"), run("dataset=cub", where)) == ["SPG"]


def test_a_run_of_before_a_key_existed_has_its_default():
    assert defaults()["eval_checkpoint"] == "last"
    assert labels(run(seed=0), run(seed=1, drop=("eval_checkpoint",))) == ["SPG"]
    assert labels(run("eval_checkpoint=best"), run(drop=("eval_checkpoint",))) == ["SPG", "SPG eval_checkpoint=best"]


def test_a_seed_that_was_run_twice_counts_once():
    variants, left_out = variants_of([run(name="new", started="2025-02-01"), run(name="old"), run(name="b", seed=1)])
    assert [[r.name for r in v.runs] for v in variants] == [["new", "b"]]
    assert left_out == ["old: same settings and seed as new, and older"]


def test_the_reference():
    variants, _ = variants_of([run("guidance=direct"), run("method=spg_plain"), run()])
    assert reference_of(variants, None).label == "SPG"
    for wanted in ("method=spg_plain", "SPG-plain"):
        assert reference_of(variants, wanted).label == "SPG-plain"
    for wanted in ("guidance=direct", "SPG guidance=direct"):
        assert reference_of(variants, wanted).label == "SPG guidance=direct"
    with pytest.raises(UserError, match=r"no variant; choose from SPG; .*Did you mean 'SPG-plain'"):
        reference_of(variants, "SGP-plain")


def test_without_plain_spg_the_first_is_the_reference():
    variants, _ = variants_of([run("method=spg_plain"), run("method=acol")])
    assert reference_of(variants, None) is variants[0]


def test_a_title_alone_names_no_one_of_a_sweep():
    variants, _ = variants_of([run(), run("thresholds.b2.high=0.6")])
    with pytest.raises(UserError, match="several variants"):
        reference_of(variants, "SPG")


def test_published_names():
    assert canonical(run()) == "spg"
    assert canonical(run("method=has", "guidance=direct")) == "has"
    assert canonical(run("fuse=off", "shared_weights=off")) == "spg shared_weights=off fuse=off"
    assert canonical(run("thresholds.b2.high=0.6")) is None
