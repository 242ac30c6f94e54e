"""What a run varies, told from its config alone."""

import pytest
from omegaconf import OmegaConf

from spg_lightning import compose
from spg_lightning.comparison.grouping import TOLD, variant, variant_name
from tests.conftest import ROOT


def told(*overrides):
    return variant(OmegaConf.to_container(compose("train", [*overrides, "output_dir=x"]), resolve=True))


def test_the_default_is_its_method():
    assert told() == {"method": "spg"}
    assert told("method=cam", "seed=4", "dataset=cub", "stem=vgg16", "logger=none") == {"method": "cam"}


@pytest.mark.parametrize("group", TOLD)
def test_every_choice_is_told_by_its_name(group):
    names = sorted(file.stem for file in (ROOT / "conf" / group).glob("*.yaml"))
    found = [told(f"{group}={name}").get(group) for name in names]
    assert found.count(None) == 1  # the default
    assert all(name == choice for name, choice in zip(names, found, strict=True) if choice is not None)


def test_values_that_no_file_has_are_told_by_key():
    assert told("thresholds.b2.low=0.2") == {"method": "spg", "thresholds.b2.low": "0.2"}
    assert told("thresholds=author_code", "thresholds.c.high=0.9", "thresholds.c.low=0.3") == {
        "method": "spg", "thresholds": "author_code", "thresholds.c.high": "0.9", "thresholds.c.low": "0.3",
    }  # fmt: skip
    assert told("module.freeze=a1", "schedule.warmup_fraction=0.5") == {
        "method": "spg", "schedule.warmup_fraction": "0.5", "module.freeze": "a1",
    }  # fmt: skip


def test_in_one_line():
    assert variant_name(told("guidance=direct", "fuse=off")) == "spg guidance=direct fuse=off"


def test_configs_of_before_a_group_existed():
    config = OmegaConf.to_container(compose("train", ["output_dir=x"]), resolve=True)
    del config["schedule"]
    assert variant(config) == {"method": "spg"}
