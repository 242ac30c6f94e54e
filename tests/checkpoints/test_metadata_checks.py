"""A checkpoint may come from anywhere: what it says of itself is checked before anything is built or allocated."""

import copy
import zipfile

import pytest
import torch
from PIL import Image

from spg_lightning import Localizer, UserError
from spg_lightning.checkpoints.metadata_checks import check_config

HUGE = 10**9
# key of the description -> value -> what the message names
HOSTILE = [
    ("crop", 1_000_000, "crop=1000000 makes no sense"),
    ("crop", 64.0, "crop=64.0 makes no sense"),
    ("class_names", HUGE, "class_names=1000000000 makes no sense"),
    ("class_names", [1], "class_names"),
    ("localization", ["x"], "other entries"),
    ("localization.threshold", "x", "threshold=x makes no sense"),
    ("localization.threshold", float("nan"), "threshold=nan makes no sense"),
    ("localization.score_map", "nothing", "score_map=nothing does not exist"),
    ("localization.confidence", {"box": {"mean": [0.0]}}, "confidence"),
    ("score_map_states", {"a": {"mean": 1}}, "not a tensor"),
    ("config", None, "no config"),
    ("config.seed", "${oc.env:HOME}", r"interpolation \(seed: \$\{oc.env:HOME\}\); refused"),
    ("config.dataset.crop", 1_000_000, "dataset.crop=1000000: choose a whole number, 1 or more and at most 4096"),
    ("config.module.num_thresholds", "many", "module.num_thresholds=many: choose a whole number"),
    ("config.method", "x", "method=x makes no sense"),
    ("config.method.network", {}, "describes no network"),
    ("config.method.network.a3_channels", 4096, "do not fit the network"),
    ("config.method.network.a3_channels", HUGE, "overflow|do not fit the network"),
    ("config.method.network.a3_channels", "wide", "a3_channels=wide: choose a whole number"),
    ("config.method.network.stem.mean", [0.5], "three numbers"),
    ("config.method.network.stem.max_dilation", 0, "max_dilation=0: choose 1 or more"),
    ("config.method.network.stem.unknown", 1, "unexpected keyword argument"),
    ("config.method.network._target_", {}, "would construct"),
    ("config.refine", {"none": "x"}, "refine.none=x makes no sense"),
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tiny_run, tmp_path_factory):
    """Return a function that writes the checkpoint with one entry of its description replaced."""
    good = torch.load(tiny_run[0].checkpoint, weights_only=True)

    def write(key, value):
        path, bad = tmp_path_factory.mktemp("hostile") / "bad.ckpt", copy.copy(good)
        node = bad["spg_lightning"] = copy.deepcopy(good["spg_lightning"])
        *parents, name = key.split(".")
        for parent in parents:
            node = node[parent]
        node[name] = value
        torch.save({key: bad[key] for key in ("state_dict", "spg_lightning")}, path)
        return path

    return write


@pytest.mark.parametrize(("key", "value", "said"), HOSTILE, ids=[f"{key}={value}"[:60] for key, value, _ in HOSTILE])
def test_a_wrong_entry_is_one_line(hostile, key, value, said):
    with pytest.raises(UserError, match=said) as error:
        Localizer.load(hostile(key, value))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("localization.threshold", "x"), ("crop", 1_000_000), ("config.seed", "${oc.env:HOME}")]
)
def test_commands_tell_it_in_one_line(hostile, cli, tmp_path, key, value):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "1.jpg")
    path = hostile(key, value)
    for command in (
        ("predict", f"images={tmp_path / '1.jpg'}", f"output_dir={tmp_path / 'out'}"),
        ("evaluate", f"output_dir={tmp_path / 'out'}"),
        ("export", f"output={tmp_path / 'model.onnx'}"),
        ("push", f"to={tmp_path / 'shared'}"),
    ):
        outcome = cli(command[0], f"checkpoint={path}", *command[1:])
        assert outcome.code == 1
        assert str(path) in outcome.line


@pytest.mark.parametrize("part", ["views", "score_map", "normalize", "refine"])
def test_sizes_of_a_score_maps_parts_are_bounded(hostile, part):
    scores = "spg_lightning.score_maps"
    nodes = {
        "views": {"_target_": f"{scores}.Views", "flip": True, "scales": [1e6]},
        "score_map": {"_target_": f"{scores}.FeatureNorm", "side": HUGE, "classifier": {
            "_target_": "spg_lightning.stems.pretrained_classifier", "model": "tf_efficientnet_lite0", "weights": "imagenet",
            "mean": [0.5] * 3, "std": [0.5] * 3}},
        "normalize": {"_target_": f"{scores}.Percentile", "low": "x", "high": 1.0},
        "refine": {"_target_": f"{scores}.PAMR", "iterations": 1, "dilations": [HUGE], "scale": 0.1, "side": 112},
    }  # fmt: skip
    chosen = {"maps": {"own": nodes[part]}, "name": "auto"} if part == "score_map" else {"own": nodes[part]}
    with pytest.raises(UserError, match=r"scales|side|low|dilations"):
        Localizer.load(hostile(f"config.{part}", chosen))


def test_a_number_that_poses_as_a_large_tensor_is_refused(tiny_run, tmp_path):
    bad = torch.load(tiny_run[0].checkpoint, weights_only=True)
    bad["state_dict"]["network.a4.weight"] = torch.zeros(1).expand(HUGE)
    torch.save(bad, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match="a number of its own for each element"):
        Localizer.load(tmp_path / "bad.ckpt")


def test_a_compressed_checkpoint_is_refused(tiny_run, tmp_path):
    with zipfile.ZipFile(tiny_run[0].checkpoint) as good, zipfile.ZipFile(tmp_path / "bad.ckpt", "w", 8) as bad:
        for name in good.namelist():
            bad.writestr(name, good.read(name))
    with pytest.raises(UserError, match="is damaged or not a checkpoint"):
        Localizer.load(tmp_path / "bad.ckpt")


def test_structures_without_an_end_are_refused():
    endless: list = []
    endless.append(endless)
    doubling: list = ["x"]
    for _ in range(30):
        doubling = [doubling, doubling]
    for node in (endless, doubling):
        with pytest.raises(UserError, match="100000 entries or 32 levels"):
            check_config({"a": node}, "x.ckpt")
    check_config({"a": [{"b": "$x {y}"}]}, "x.ckpt")
