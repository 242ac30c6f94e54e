"""`convert`: published files become checkpoints; nothing stored in them is executed."""

import pickle

import pytest
import torch
from PIL import Image

from spg_lightning import load_network
from spg_lightning.checkpoints import LAYOUTS, import_published
from tests.checkpoints.test_published import import_published_names


@pytest.fixture
def source(tmp_path):
    shapes = import_published_names("benchmark/resnet50")
    torch.manual_seed(0)
    state_dict = {f"module.{name}": torch.rand(shape) * 0.02 for name, shape in shapes.items()}
    torch.save({"state_dict": state_dict, "epoch": 3}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def test_a_published_file_predicts(source, cli, tmp_path):
    model = tmp_path / "model.safetensors"
    (tmp_path / "names.txt").write_text("".join(f"bird {k}\n" for k in range(7)))
    done = cli(
        "convert", f"source={source}", "layout=benchmark/resnet50", f"output={model}", "map_size=14", "crop=64", "resize=72",
        f"class_names={tmp_path}/names.txt",
    )  # fmt: skip
    assert done.code == 0, done.err
    network, description = load_network(model)
    direct = import_published(torch.load(source), "benchmark/resnet50", 7, 14)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(images).class_maps, direct(images).class_maps)
        assert torch.equal(network(images).c, direct(images).c)
    assert description.class_names[2] == "bird 2"
    assert network.stem.mean == [0.485, 0.456, 0.406]
    Image.effect_noise((80, 60), 90).convert("RGB").save(tmp_path / "photo.jpg")
    done = cli("predict", f"checkpoint={model}", f"images={tmp_path}/photo.jpg", f"output_dir={tmp_path}/out")
    assert "give both, e.g. score_map=attention threshold=0.2" in done.line
    done = cli(
        "predict", f"checkpoint={model}", f"images={tmp_path}/photo.jpg", f"output_dir={tmp_path}/out",
        "score_map=attention", "threshold=0.2",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "predictions.json").is_file()


class Trap:
    """What a hostile pickle does when it is loaded."""

    def __reduce__(self):
        return (open, ("executed.txt", "w"))


def test_a_pickle_that_runs_code_is_refused(cli, tmp_path):
    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"state_dict": Trap()}))
    torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap()}, tmp_path / "trap2.pth")
    for name in ("trap.pth", "trap2.pth"):
        done = cli(
            "convert", f"source={tmp_path}/{name}", "layout=author/inception_v3", f"output={tmp_path}/m.safetensors"
        )
        assert done.code == 1
        assert f"{name} cannot be read as plain weights" in done.line
        done = cli("predict", f"checkpoint={tmp_path}/{name}", f"images={tmp_path}")
        assert done.code == 1
        assert done.line
        assert not list(tmp_path.rglob("executed.txt"))


def test_mistakes(source, cli, tmp_path):
    base = [f"source={source}", f"output={tmp_path}/m.safetensors"]
    assert "it has no classier_1.bias" in cli("convert", *base, "layout=author/inception_v3").line
    assert "Did you mean 'benchmark/resnet50'?" in cli("convert", *base, "layout=benchmark/resnet5").line
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    done = cli("convert", *base, "layout=benchmark/resnet50", f"class_names={names}")
    assert "has 2 names, the checkpoint 7 classes" in done.line
    done = cli("convert", f"source={source}", f"output={tmp_path}/m.pth", "layout=benchmark/resnet50")
    assert "name a .safetensors file" in done.line
    for half in ("threshold=0.2", "score_map=attention"):
        assert (
            "give both score_map= and threshold=, or neither"
            in cli("convert", *base, "layout=benchmark/resnet50", half).line
        )
    done = cli("convert", f"source={tmp_path}/no.pth", f"output={tmp_path}/m.safetensors", "layout=benchmark/vgg16")
    assert "no.pth does not exist" in done.line
    assert set(LAYOUTS) == {"author/inception_v3", "benchmark/inception_v3", "benchmark/vgg16", "benchmark/resnet50"}
