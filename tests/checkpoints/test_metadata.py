"""Checkpoints are read back as they were written, and what is none is told in one line."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from spg_lightning.checkpoints.metadata import add_localization, load_checkpoint, read_checkpoint, write_weights
from spg_lightning.errors import UserError
from tests.checkpoints.handmade import checkpoint, description


@pytest.fixture
def path(tmp_path):
    torch.save(checkpoint(), tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def test_the_networks_weights_and_the_description(path):
    metadata, weights = read_checkpoint(path)
    assert metadata == description()
    assert weights.keys() == {"a4.weight"}
    assert weights["a4.weight"].equal(torch.arange(6.0).view(2, 3))


def test_a_choice_of_the_evaluation_is_stored(path):
    add_localization(path, "b1:pamr", 0.25, {"num_val": 3})
    metadata, weights = read_checkpoint(path)
    chosen = {"score_map": "b1:pamr", "threshold": 0.25, "confidence": {"num_val": 3}}
    assert metadata == description(localization=chosen)
    assert weights["a4.weight"].equal(torch.arange(6.0).view(2, 3))


def test_weights_alone_in_a_safetensors_file(tmp_path):
    states = {"pca": {"mean": torch.arange(4.0).view(2, 2).T, "side": torch.ones(1)}, "norm": {"mean": torch.zeros(1)}}
    metadata = replace(description(), score_map_states=states)
    write_weights(tmp_path / "a.safetensors", metadata, {"a4.weight": torch.arange(6.0).view(2, 3).T})
    again, weights = read_checkpoint(tmp_path / "a.safetensors")
    assert weights["a4.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert again.score_map_states["pca"]["mean"].tolist() == [[0, 2], [1, 3]]
    assert {name: {*state} for name, state in again.score_map_states.items()} == {
        "pca": {"mean", "side"},
        "norm": {"mean"},
    }
    assert replace(again, score_map_states={}) == description()


def test_files_that_are_not_there(tmp_path, path):
    with pytest.raises(
        UserError, match=r"checkpoint=.*b\.ckpt: no such file; a run folder holds it as checkpoints/last\.ckpt"
    ):
        read_checkpoint(tmp_path / "b.ckpt")
    (tmp_path / "checkpoints").mkdir()
    path.rename(tmp_path / "checkpoints/last.ckpt")
    with pytest.raises(UserError, match=f"no such file; did you mean {tmp_path}/checkpoints/last.ckpt"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [[1], {"state_dict": {}}, {"spg_lightning": description().as_plain()}])
def test_files_of_others(tmp_path, content):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"was not written by spg_lightning; convert published weights with"):
        load_checkpoint(tmp_path / "a.ckpt")
    save_file({"w": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="was not written by spg_lightning"):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": 2}, "has format 2, this version reads format 3; train again, or use the version of"),
        ({"format": "x" * 100}, f"has format {'x' * 40}, this"),
        ({"more": 1}, "other entries than class_names, config, crop, format, localization, score_map_states"),
        ({"localization": []}, "other entries"),
        ({"score_map_states": []}, "other entries"),
        ({"crop": 0}, "crop=0 makes no sense"),
        ({"config": []}, "holds no config"),
        ({"score_map_states": {"pca": [1]}}, "not a tensor"),
        ({"score_map_states": {"pca": {"mean": torch.zeros(1).expand(2)}}}, "a number of its own for each element"),
        ({"score_map_states": {"pca": {"mean": torch.zeros(2).to_sparse()}}}, "a number of its own for each element"),
    ],
)
def test_damaged_descriptions(path, entries, message):
    bad = checkpoint()
    bad["spg_lightning"].update(entries)
    torch.save(bad, path)
    with pytest.raises(UserError, match=f"checkpoint={path}.*{message}"):
        load_checkpoint(path)


def test_descriptions_and_weights_of_another_type(path):
    torch.save({**checkpoint(), "spg_lightning": [3]}, path)
    with pytest.raises(UserError, match="has format None"):
        load_checkpoint(path)
    torch.save({**checkpoint(), "state_dict": [torch.ones(1)]}, path)
    with pytest.raises(UserError, match="a weight is not a tensor"):
        load_checkpoint(path)
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"is damaged or not a checkpoint; give a \.ckpt written by"):
        load_checkpoint(path)
