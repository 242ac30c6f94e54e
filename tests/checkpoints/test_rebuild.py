"""A checkpoint rebuilds its network and score maps."""

import pytest
import torch
from omegaconf import OmegaConf

from spg_lightning import UserError, load_network
from spg_lightning.checkpoints.rebuild import (
    build_processed_maps,
    rebase_root,
    select_processed_map,
    use_stem_of_checkpoint,
)
from tests.checkpoints.handmade import description

BRANCHES = ("b1", "b2", "c")
SCORES = "spg_lightning.score_maps"
TWO_OF_EACH = {
    "views": {"none": None, "flip": {"_target_": f"{SCORES}.Views", "flip": True, "scales": [1.0]}},
    "normalize": {"minmax": {"_target_": f"{SCORES}.MinMax"}, "max": {"_target_": f"{SCORES}.Max"}},
}


def test_a_checkpoint_rebuilds_its_network_from_plain_data(tiny_run):
    result, _ = tiny_run
    torch.load(result.checkpoint, weights_only=True)
    network, metadata = load_network(result.checkpoint)
    assert metadata.class_names[0] == "001.Class_0"
    assert metadata.localization["score_map"] == result.evaluation.score_map
    assert not network.training
    out = network(torch.zeros(1, 3, 64, 64))
    assert out.b1.shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("given", "stored", "config", "chosen"),
    [
        (None, "b1", {}, "b1"),
        ("c", "b1", {}, "c"),
        (None, "b1:flip:max", TWO_OF_EACH, "b1:flip:max"),
        ("c", "b1:flip:max", TWO_OF_EACH, "c:flip:max"),
        ("c:none:minmax", "b1:flip:max", TWO_OF_EACH, "c:none:minmax"),
        (None, "b1:flip:max", {"normalize": TWO_OF_EACH["normalize"], "refine": None}, "b1:max"),
        (None, "b1:flip:max", {"normalize": {"max": TWO_OF_EACH["normalize"]["max"]}}, "b1"),
        ("b1+c", "", {}, "b1+c"),
    ],
)
def test_the_stored_choice_holds_for_what_the_user_leaves_open(given, stored, config, chosen):
    (name,) = select_processed_map(given, stored, BRANCHES, {}, config)
    assert name == chosen


def test_a_choice_that_leaves_something_open_is_refused():
    with pytest.raises(
        UserError, match="score_map=c:flip: choose from c:none:minmax, c:none:max, c:flip:minmax, c:flip:max"
    ):
        select_processed_map("c:flip", "b1", BRANCHES, {}, TWO_OF_EACH)
    with pytest.raises(UserError, match="score_map=b1: choose from b1:none:minmax"):
        select_processed_map(None, "b1", BRANCHES, {}, TWO_OF_EACH)


def test_paths_below_the_old_root_follow_the_new_one():
    reader = OmegaConf.create(
        {"root": "/data/birds/", "lists": "/data/birds/lists", "other": "/data/birds2/x", "same": "/data/birds", "k": 3}
    )
    rebase_root(reader, "/new")
    assert reader == {"root": "/new/", "lists": "/new/lists", "other": "/data/birds2/x", "same": "/new", "k": 3}


def test_a_command_gets_the_stem_of_the_checkpoint():
    stem = {"name": "lite0", "pretrained": {"_target_": "spg_lightning.stems.pretrained_classifier"}}
    cfg = OmegaConf.create({"checkpoint": "a.ckpt", "trust": [], "map": "${stem.name}"})
    use_stem_of_checkpoint(cfg, description(config={"stem": stem}))
    assert cfg.map == "lite0"
    use_stem_of_checkpoint(cfg, description(config={}))
    with pytest.raises(UserError, match=r"checkpoint=a\.ckpt would construct os\.system"):
        use_stem_of_checkpoint(cfg, description(config={"stem": {"_target_": "os.system"}}))


def test_an_empty_mapping_is_no_refinement():
    with pytest.raises(UserError, match=r"refine.none=\{\} is no part; give a node with _target_"):
        build_processed_maps(["c"], ("c",), {}, {"refine": {"none": {}}})
