"""Shared checkpoints: the folder, its card, and addresses of the hub, whose answers are stubbed."""

import json
from dataclasses import replace

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from spg_lightning import Localizer, UserError
from spg_lightning.checkpoints.hub import upload, without_local_paths, write_shared
from spg_lightning.checkpoints.hub_address import local_file, parse_address
from spg_lightning.checkpoints.metadata import read_checkpoint, write_weights
from spg_lightning.checkpoints.weights_license import license_of_weights
from tests.trees import photo_like


@pytest.fixture
def shared(tiny_run, tmp_path):
    write_shared(tiny_run[0].checkpoint, tmp_path / "birds")
    return tmp_path / "birds"


def test_a_shared_folder_localizes_as_the_checkpoint(shared, tiny_run):
    assert sorted(file.name for file in shared.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    image = photo_like((80, 60), 0)
    for one, other in zip(
        Localizer.load(shared)(image, 3), Localizer.load(tiny_run[0].checkpoint)(image, 3), strict=True
    ):
        assert one.box == other.box
        assert np.array_equal(one.score_map, other.score_map)


def test_the_card(shared, tiny_run):
    _, front, text = (shared / "README.md").read_text().split("---\n", 2)
    data = yaml.safe_load(front)
    assert (data["library_name"], data["license"], data["datasets"]) == ("spg_lightning", "unknown", ["cub"])
    metrics = {entry["type"]: entry["value"] for entry in data["model-index"][0]["results"][0]["metrics"]}
    assert metrics["gt_known_error"] == pytest.approx(tiny_run[0].metrics["test/gt_known_error"], abs=0.01)
    assert f"the whole image as box | {tiny_run[0].metrics['test/floor_whole_gt_known_error']:.2f} |" in text
    assert f'Localizer.load("{shared}")' in text
    config = json.loads((shared / "config.json").read_text())
    assert config["localization"]["score_map"] in text
    assert config["class_names"] == list(read_checkpoint(shared)[0].class_names)


def test_nothing_tells_of_the_machine(shared, tiny_run):
    folder = str(tiny_run[1].parent)
    for name in ("config.json", "model.safetensors"):
        assert folder.encode() not in (shared / name).read_bytes(), name
    assert without_local_paths({"a": ["/data/CUB", "~/x/y", "a/b", 3]}) == {"a": ["CUB", "y", "a/b", 3]}


def test_weights_of_another_epoch_get_no_results(tiny_run, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "metrics.json", "provenance.json"):
        (run / name).write_bytes((tiny_run[0].output_dir / name).read_bytes())
    for name in ("last", "best"):
        (run / "checkpoints" / f"{name}.ckpt").write_bytes(tiny_run[0].checkpoint.read_bytes())
        write_shared(run / "checkpoints" / f"{name}.ckpt", tmp_path / name)
    assert "## Results on 12 test images" in (tmp_path / "last" / "README.md").read_text()
    assert "## Results" not in (tmp_path / "best" / "README.md").read_text()


def test_what_score_maps_learnt_is_shared(tiny_run, tmp_path):
    metadata, weights = read_checkpoint(tiny_run[0].checkpoint)
    states = {"feature_pca": {"mean": torch.arange(3.0), "direction": torch.ones(2, 2)}}
    write_weights(tmp_path / "model.safetensors", replace(metadata, score_map_states=states), weights)
    again, loaded = read_checkpoint(tmp_path)
    assert loaded.keys() == weights.keys()
    assert torch.equal(again.score_map_states["feature_pca"]["mean"], torch.arange(3.0))
    assert again.score_map_states.keys() == states.keys()


def test_licences():
    shipped = {"stem": {"weights": "imagenet", "network": {"_target_": "spg_lightning.stems.EfficientNetLite0Stem"}}}
    assert license_of_weights(shipped) == "Apache-2.0"
    assert license_of_weights({"stem": {**shipped["stem"], "weights": "none"}}) == "unknown"
    assert license_of_weights({"stem": {"weights": "imagenet", "network": {"_target_": "a.VGG16Stem"}}}) == "unknown"
    assert license_of_weights({}) == "unknown"


def test_addresses_are_read(shared, monkeypatch):
    asked = []

    def download(repo, name, revision):
        asked.append((repo, name, revision))
        return str(shared / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert Localizer.load("hf://owner/birds").class_names == Localizer.load(shared).class_names
    assert local_file("hf://owner/birds@v1.0") == shared / "model.safetensors"
    assert asked == [("owner/birds", "model.safetensors", None), ("owner/birds", "model.safetensors", "v1.0")]
    assert parse_address("hf:/owner/birds") == ("owner/birds", None), "as pathlib writes it"


def error_of(kind):
    """Return an error of the hub without the request that it wants."""
    return kind.__new__(kind, "text")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (RepositoryNotFoundError, "hf://owner/birds: no such repository, or a private one"),
        (RevisionNotFoundError, "hf://owner/birds@v2: the repository has no such revision"),
        (LocalEntryNotFoundError, "no connection to the hub"),
        (EntryNotFoundError, "holds no model.safetensors"),
        (ConnectionError, "cannot be downloaded"),
    ],
)
def test_addresses_that_cannot_be_read(kind, message, monkeypatch):
    def download(*_, **__):
        raise error_of(kind)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(UserError, match=message) as error:
        read_checkpoint("hf://owner/birds@v2")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("address", ["hf://birds", "hf://a/b/c", "hf://owner/birds@", "hf://../x y"])
def test_wrong_addresses(address):
    with pytest.raises(UserError, match="write hf://owner/name"):
        read_checkpoint(address)


class Api:
    """The hub's API, without the hub."""

    calls: list

    def create_repo(self, repo, private, exist_ok):
        self.calls.append(("create", repo, private, exist_ok))

    def upload_folder(self, repo_id, folder_path, revision):
        from pathlib import Path

        names = sorted(file.name for file in Path(folder_path).iterdir())
        self.calls.append(("upload", repo_id, names, (Path(folder_path) / "README.md").read_text()))
        return f"https://hub/{repo_id}/commit/1"


def test_upload(tiny_run, monkeypatch):
    Api.calls = []
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert upload(tiny_run[0].checkpoint, "hf://owner/birds", private=True) == "https://hub/owner/birds/commit/1"
    create, (_, repo, names, card) = Api.calls
    assert create == ("create", "owner/birds", True, True)
    assert (repo, names) == ("owner/birds", ["README.md", "config.json", "model.safetensors"])
    assert 'Localizer.load("hf://owner/birds")' in card
    for kind, message in ((LocalTokenNotFoundError, "hf auth login"), (ConnectionError, "the upload failed")):
        monkeypatch.setattr(Api, "create_repo", lambda *_, kind=kind, **__: (_ for _ in ()).throw(error_of(kind)))
        with pytest.raises(UserError, match=message):
            upload(tiny_run[0].checkpoint, "hf://owner/birds", private=True)
