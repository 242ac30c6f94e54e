"""Other classifiers' labels on a network's maps (paper table 3)."""

import json
import re

import pytest
import timm
import torch
import torchvision

from spg_lightning import compose, evaluate
from spg_lightning.errors import UserError
from spg_lightning.evaluation.classifiers import OTHER, match_classes, open_classifier

IMAGENET = ("n01440764", "goldfish", "great_white_shark")  # by WordNet's id, by name, by name with underscores


def test_classes_are_matched_by_name():
    known = [["black-footed albatross"], ["Crow"], ["Sooty Albatross", "n123"]]
    assert match_classes(["n123", "001.Black_footed_Albatross"], known, "x").tolist() == [1, OTHER, 0]
    with pytest.raises(UserError, match=r"classifier=x: the data set's class 'Wren' is not its own"):
        match_classes(["Wren"], known, "x")
    with pytest.raises(UserError, match="'C\\+\\+' and 'C#' cannot be told apart"):
        match_classes(["C++", "C#"], [["C++"], ["C#"]], "x")
    with pytest.raises(UserError, match="several classes of that name"):
        match_classes(["crane"], [["crane", "n1"], ["crane", "n2"]], "x")


@pytest.fixture
def no_downloads(monkeypatch):
    """Random weights in place of torchvision's and timm's; returns the networks made."""
    made = []

    def torchvisions(weights):
        torch.manual_seed(0)
        return torchvision.models.resnet18(weights=None).state_dict()

    original = timm.create_model

    def timms(name, pretrained, **kwargs):
        torch.manual_seed(0)
        made.append(original(name, pretrained=False, **kwargs))
        return made[-1]

    monkeypatch.setattr("spg_lightning.evaluation.classifiers.torchvision_state_dict", torchvisions)
    monkeypatch.setattr("spg_lightning.evaluation.classifiers.timm.create_model", timms)
    return made


def test_a_torchvision_model_ranks_the_data_sets_classes(no_downloads):
    rank = open_classifier("resnet18", IMAGENET, [])
    images = torch.randint(0, 256, (4, 3, 224, 224), dtype=torch.uint8)
    ranked = rank(images, ["a"] * 4)
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        best = network((images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)).topk(5).indices
    assert ranked.tolist() == [[k if k < 3 else OTHER for k in row] for row in best.tolist()]


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_a_model_that_turns_its_input_does_so_here(name, monkeypatch):
    builder = getattr(torchvision.models, name)
    own = builder(weights=None, init_weights=False, transform_input=True).eval()
    monkeypatch.setattr("spg_lightning.evaluation.classifiers.torchvision_state_dict", lambda weights: own.state_dict())
    images = torch.randint(0, 256, (2, 3, 299, 299) if name == "inception_v3" else (2, 3, 224, 224), dtype=torch.uint8)
    ranked = open_classifier(name, IMAGENET, [])(images, ["a", "b"])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        best = own((images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)).topk(5).indices
    assert ranked.tolist() == [[k if k < 3 else OTHER for k in row] for row in best.tolist()]


def test_a_timm_model_sees_its_own_input_size(no_downloads):
    rank = open_classifier("vit_tiny_patch16_224", IMAGENET, [])
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    ranked = rank(images, ["a", "b"])
    assert ranked.shape == (2, 5)
    assert set(ranked.flatten().tolist()) <= {OTHER, 0, 1, 2}
    assert len(no_downloads) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet8", "neither a file .* Did you mean"),
        ("nowhere.csv", "classifier=nowhere.csv is missing"),
        ("nowhere.ckpt", "no such file"),
        ("resnet18", "the data set's class 'Dodo' is not its own"),
        ("convnext_tiny.fb_in22k", "does not say which classes"),
        ("resnet18d", "the data set's class 'Dodo' is not its own"),
        ("timm/resnet18.foo", "timm has no such weights; it has resnet18"),
    ],
)
def test_what_cannot_be_had_is_one_line(name, message):
    with pytest.raises(UserError, match=message) as told:
        open_classifier(name, ["Dodo"], [])
    assert "\n" not in str(told.value)


def test_a_file_of_names_and_indices(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("a/1.jpg,Crow,001.black_footed ALBATROSS\na/2,1,0\na/3.jpg,-,Crow\n")
    names = ["001.Black_footed_Albatross", "Crow"]
    rank = open_classifier(str(file), names, ["a/1.jpg", "a/2.jpg", "a/3.jpg"])
    assert rank(torch.zeros(3, 3, 2, 2), ["a/3.jpg", "a/1.jpg", "a/2.jpg"]).tolist() == [[OTHER, 1], [1, 0], [1, 0]]
    with pytest.raises(UserError, match=r"no row for a/4.jpg"):
        open_classifier(str(file), names, ["a/4.jpg"])
    file.write_text("a/1.jpg,Crwo\n")
    with pytest.raises(UserError, match=r"labels.csv, line 1: cannot read 'a/1.jpg,Crwo'"):
        open_classifier(str(file), names, ["a/1.jpg"])


def measured(result, data, folder, *overrides):
    evaluate(
        compose(
            "evaluate",
            [f"checkpoint={result.checkpoint}", f"root={data}", "num_workers=0", "gallery_images=0", "accelerator=cpu",
             "score_map=attention", f"output_dir={folder}", *overrides],
        )
    )  # fmt: skip
    return json.loads((folder / "metrics.json").read_text())


def test_localization_moves_with_the_labels(tiny_run, tmp_path):
    result, data = tiny_run
    images = {r.image: r.label for r in result.evaluation.images}
    own = measured(result, data, tmp_path / "own")
    labels = tmp_path / "labels.csv"

    labels.write_text("".join(f"{image},{label},-,-\n" for image, label in images.items()))
    right = measured(result, data, tmp_path / "right", f"classifier={labels}")
    assert right["test/cls_top1_error"] == 0
    assert right["test/loc_top1_error"] == right["test/gt_known_error"] == own["test/gt_known_error"]
    assert right["test/loc_top5_error"] == right["test/gt_known_error"]

    labels.write_text("".join(f"{image},-,{label},-\n" for image, label in images.items()))
    second = measured(result, data, tmp_path / "second", f"classifier={labels}")
    assert second["test/cls_top1_error"] == second["test/loc_top1_error"] == 100
    assert second["test/loc_top5_error"] == right["test/gt_known_error"]
    rows = (tmp_path / "second" / "images.csv").read_text()
    assert "(another)" in rows

    labels.write_text("".join(f"{image},{label}\n" for image, label in images.items()))  # three classes make a top-5
    one = measured(result, data, tmp_path / "one", f"classifier={labels}")
    assert one["test/cls_top1_error"] == 0
    assert not any("top5" in key for key in one if key.startswith("test/cls"))

    itself = measured(result, data, tmp_path / "itself", f"classifier={result.checkpoint}")
    assert {k: v for k, v in itself.items() if "seconds" not in k} == {
        k: v for k, v in own.items() if "seconds" not in k
    }


def test_mistakes_are_one_line(tiny_run, tmp_path, cli):
    result, data = tiny_run
    labels = tmp_path / "l.csv"
    labels.write_text("x,0\n")
    told = cli(
        "evaluate", f"checkpoint={result.checkpoint}", f"root={data}", f"classifier={labels}", "num_workers=0",
        f"output_dir={tmp_path / 'out'}",
    )  # fmt: skip
    assert told.code == 1
    assert re.search(r"error: .*l.csv: no row for .* more", told.line)
    told = cli("evaluate", "maps=x", "metadata=y", "classifier=resnet18")
    assert told.code == 1
    assert "with maps=... give predictions=<file>" in told.line
