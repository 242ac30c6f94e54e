"""The name of a run: the overrides that set it apart from the defaults, written when its config is composed."""

import pytest
from omegaconf import OmegaConf

from spg_lightning import compose
from tests.conftest import ROOT, TINY

GROUPS = ("dataset", "stem", "method", "guidance", "thresholds", "shared_weights", "fuse", "score_map", "schedule")


def variant(*overrides):
    return list(compose("train", [*overrides, "output_dir=x"]).variant)


def test_the_defaults_have_no_words():
    assert variant() == []
    assert variant("guidance=cascade", "thresholds.b2.high=0.7", "thresholds.b1={high: 0.5, low: 0.05}") == []


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_but_the_default_is_a_word(group):
    names = sorted(file.stem for file in (ROOT / "conf" / group).glob("*.yaml"))
    found = [variant(f"{group}={name}") for name in names]
    assert found.count([]) == 1  # the default
    assert all(words == [f"{group}={name}"] for name, words in zip(names, found, strict=True) if words)


def test_words_are_sorted_and_written_as_overrides():
    assert variant("thresholds.b2.low=0.2", "method=cam", "fuse=off") == [
        "fuse=off", "method=cam", "thresholds.b2.low=0.2",
    ]  # fmt: skip
    assert variant("thresholds.b2={high: 0.6, low: 0.1}") == ["thresholds.b2.high=0.6"]
    assert variant("module.compile=true", "method.network.branches=[b1,b2]", "trainer.gradient_clip_val=1.0") == [
        "method.network.branches=[b1,b2]", "module.compile=true", "trainer.gradient_clip_val=1.0",
    ]  # fmt: skip
    assert variant("~callbacks.best", "+trainer.max_time=1h") == ["trainer.max_time=1h", "~callbacks.best"]


def test_an_experiment_is_named_with_its_choices_and_its_values_are_the_defaults():
    assert variant("experiment=cub20_small") == ["dataset=cub", "experiment=cub20_small"]
    assert variant("experiment=cub20_small", "module.freeze=a1", "dataset.crop=160") == variant(
        "experiment=cub20_small"
    )
    assert "module.freeze=none" in variant("experiment=cub20_small", "module.freeze=none")


def test_a_row_of_the_ablation_table_is_its_choices():
    assert variant("ablation=direct") == ["guidance=direct"] == variant("guidance=direct")
    assert variant("ablation=spg") == []
    assert variant("+sweep=ablations", "ablation=plain") == ["method=spg_plain"]


@pytest.mark.parametrize(
    "override",
    [
        "seed=4", "data.seed=4", "dataset.root=b", "data.num_workers=0", "data.worker_timeout=9", "logger=wandb",
        "logger=none", "gallery_images=3", "report_images=0", "resume=auto", "overwrite=true", "checkpoint_every_steps=7",
        "objective=test/pxap", "debug=true", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "callbacks.progress=null", "~callbacks.progress", "launcher=local",
    ],
)  # fmt: skip
def test_where_and_how_a_run_is_made_is_no_word(override):
    assert variant(override) == []


def test_users_may_name_a_run():
    assert variant("variant=[mine]", "guidance=direct") == variant("variant=mine") == ["mine"]


def test_other_commands_have_no_variant():
    assert "variant" not in compose("predict", ["checkpoint=a", "images=b"])


def test_the_command_line_writes_the_same_name(cli, tiny_run, tmp_path):
    words = [*TINY, f"dataset.root={tiny_run[1]}", "trainer.max_steps=1", "gallery_images=0", "ablation=direct"]
    done = cli("train", *words, f"output_dir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    saved = OmegaConf.load(tmp_path / "run" / "config.yaml").variant
    assert saved == variant(*words)
    assert {"guidance=direct", "dataset.crop=64", "trainer.max_steps=1"} <= set(saved)
    assert not any(word.startswith(("dataset.root", "logger", "gallery_images", "ablation")) for word in saved)


def test_training_free_maps_name_a_variant_only_where_they_seed():
    words = ["output_dir=x", "training_free.name=feature_pca"]
    assert compose("train", words).variant == []
    assert "training_free.name=feature_pca" in compose("train", [*words, "guidance=seeded"]).variant


def test_an_ablation_that_sets_values_names_the_variant():
    found = {
        name: compose("train", ["output_dir=x", f"ablation={name}"]).variant for name in ("direct", "seeds_in_rounds")
    }
    assert found == {"direct": ["guidance=direct"], "seeds_in_rounds": ["ablation=seeds_in_rounds", "guidance=seeded"]}
