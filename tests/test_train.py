"""Train two steps, evaluate, predict: what each leaves behind."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from pycocotools.coco import COCO

from spg_lightning import compose, evaluate, load_network, train
from spg_lightning.predict import file_names
from tests.conftest import TINY
from tests.trees import write_cub

PROMISED = [
    "cls_top1_error",
    "cls_top5_error",
    "loc_top1_error",
    "loc_top5_error",
    "gt_known_error",
    "max_box_acc",
    "max_box_acc_v2",
    "max_box_acc_iou30",
    "max_box_acc_iou50",
    "max_box_acc_iou70",
    "pxap",
    "threshold",
    "num_images",
    "floor_center_gt_known_error",
    "floor_whole_gt_known_error",
    "gt_known_error_oracle",
    "loc_top1_error_oracle",
    "max_box_acc_oracle",
    "max_box_acc_v2_oracle",
]


def test_a_run_folder_holds_what_is_promised(tiny_run):
    result, _ = tiny_run
    metrics = json.loads((result.output_dir / "metrics.json").read_text())
    assert all(isinstance(value, int | float) for value in metrics.values())
    for name in PROMISED:
        assert f"test/{name}" in metrics, name
    for name in ("attention", "c", "fused", "b1", "b2"):
        assert f"test/{name}/gt_known_error" in metrics
    assert metrics["test/num_images"] == 12
    assert metrics["val/num_images"] == 3
    facts = json.loads((result.output_dir / "provenance.json").read_text())
    assert facts["seed"] == 0
    assert facts["steps"] == 2
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0]
    assert facts["photos"] == {"train": 9, "val": 3, "test": 12}
    assert OmegaConf.load(result.output_dir / "config.yaml").dataset.crop == 64
    for name in ("last", "best"):
        assert (result.output_dir / "checkpoints" / f"{name}.ckpt").is_file()
    overview = Image.open(result.output_dir / "gallery" / "overview.png")
    # ground truth, attention, three masks, perhaps the chosen map, the box
    assert overview.width in (6 * 198 + 6, 7 * 198 + 6)
    assert len(list((result.output_dir / "gallery").glob("*.png"))) == 3
    rows = list(csv.DictReader((result.output_dir / "metrics.csv").open()))
    assert any(row["val/gt_known_error"] for row in rows)
    assert any(row["lr-SGD/new_weight"] for row in rows)


def test_the_chosen_map_is_the_best_on_val(tiny_run):
    evaluation = tiny_run[0].evaluation
    errors = {name: numbers["val/gt_known_error"] for name, numbers in evaluation.per_map.items()}
    assert errors[evaluation.score_map] == min(errors.values())
    assert evaluation.metrics["test/gt_known_error"] == evaluation.per_map[evaluation.score_map]["test/gt_known_error"]


def test_evaluate_gives_trainings_numbers_again(tiny_run, verb, tmp_path):
    result, _ = tiny_run
    outcome = verb(
        "evaluate", f"checkpoint={result.checkpoint}", f"output_dir={tmp_path}", "num_thresholds=50", "num_workers=0",
        "accelerator=cpu", "gallery_images=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    again = json.loads((tmp_path / "metrics.json").read_text())
    assert again == pytest.approx(result.metrics)
    assert not list(Path.cwd().iterdir())  # everything went to output_dir


def test_evaluate_on_a_data_set_that_moved_and_on_other_classes(tiny_run, verb, tmp_path):
    from tests.trees import write_cub

    result, data = tiny_run
    data.rename(tmp_path / "moved")
    common = (f"checkpoint={result.checkpoint}", f"output_dir={tmp_path / 'out'}", "num_workers=0", "gallery_images=0")
    try:
        outcome = verb("evaluate", *common)
        assert outcome.code == 1
        assert "is missing" in outcome.line
        assert verb("evaluate", *common, f"root={tmp_path / 'moved'}", "num_thresholds=50").code == 0
        named = ("dataset=cub", f"dataset.root={tmp_path / 'moved'}", "num_thresholds=50")
        assert verb("evaluate", *common, *named).code == 0
        other = write_cub(tmp_path / "other", classes=2)
        assert "knows 3 classes" in verb("evaluate", *common, f"root={other}").line
    finally:
        (tmp_path / "moved").rename(data)


def test_a_checkpoint_rebuilds_its_network_from_plain_data(tiny_run):
    result, _ = tiny_run
    torch.load(result.checkpoint, weights_only=True)
    network, description = load_network(result.checkpoint)
    assert description.class_names[0] == "001.Class_0"
    assert description.localization["score_map"] == result.evaluation.score_map
    assert not network.training
    out = network(torch.zeros(1, 3, 64, 64))
    assert out.b1.shape == (1, 1, 8, 8)


FOREIGN = {
    "method.network.stem": "os.system",
    "method.network.stem.network": "spg_lightning.loggers.wandb.logging.FileHandler",  # reached through our own module
    "module.step": "spg_lightning.loggers.wandb.logging.FileHandler",
    "module.loss.guidance": "logging.FileHandler",
    "data.reader": "logging.FileHandler",
}


@pytest.mark.parametrize("key", FOREIGN)
def test_a_checkpoint_that_would_construct_something_foreign_is_refused(tiny_run, verb, tmp_path, key):
    precious, evil = tmp_path / "precious.txt", tmp_path / "evil.ckpt"
    precious.write_text("of the user")
    checkpoint = torch.load(tiny_run[0].checkpoint, weights_only=True)
    node = {"_target_": FOREIGN[key], "filename": str(precious), "mode": "w"}
    config = OmegaConf.create(checkpoint["spg_lightning"]["config"])
    OmegaConf.update(config, key, node, merge=False)
    checkpoint["spg_lightning"]["config"] = OmegaConf.to_container(config)
    torch.save(checkpoint, evil)
    outcome = verb("evaluate", f"checkpoint={evil}", f"output_dir={tmp_path / 'out'}", "num_workers=0")
    assert outcome.code == 1
    assert f"would construct {FOREIGN[key]}" in outcome.line
    assert precious.read_text() == "of the user"


def test_a_foreign_optimizer_is_not_needed_for_an_evaluation(tiny_run, verb, tmp_path):
    checkpoint = torch.load(tiny_run[0].checkpoint, weights_only=True)
    checkpoint["spg_lightning"]["config"]["module"]["optimizer"] = {"_target_": "mine.optimizer"}
    torch.save(checkpoint, tmp_path / "mine.ckpt")
    outcome = verb(
        "evaluate", f"checkpoint={tmp_path / 'mine.ckpt'}", f"output_dir={tmp_path / 'out'}", "num_workers=0",
        "num_thresholds=50", "gallery_images=0",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_predict_on_file_folder_and_glob(tiny_run, verb, tmp_path):
    result, data = tiny_run
    photos = data / "images" / "001.Class_0"
    for images, count in ((photos / "Photo_0.jpg", 1), (photos, 8), (f'"{data}/images/*/Photo_1.jpg"', 3)):
        out = tmp_path / str(count)
        outcome = verb(
            "predict",
            f"checkpoint={result.checkpoint}",
            f"images={images}",
            f"output_dir={out}",
            "top_k=2",
            "save_maps=true",
        )
        assert outcome.code == 0, outcome.err
        rows = json.loads((out / "predictions.json").read_text())
        assert len(rows) == 2 * count
        for row in rows:
            assert set(row["box"]) == {"x0", "y0", "x1", "y1"}
            assert 0 <= row["box"]["x0"] <= row["box"]["x1"] <= 60
            assert 0 <= row["box"]["y0"] <= row["box"]["y1"] <= 40
            assert row["class"].startswith("00")
            assert Image.open(out / row["overlay"]).size == (60, 40)
            assert np.load(out / row["map_file"]).shape == (64, 64)
        assert len(list((out / "overlays").iterdir())) == count


def test_no_two_photos_share_a_file_name():
    photos = [
        Path(p) for p in ("a/x.jpg", "a/x.png", "a/X.jpg", "r/a/b_c/x.jpg", "r/a_b/c/x.jpg", "other/r/a_b/c/x.jpg")
    ]
    names = file_names(photos)
    assert names[photos[0]] == "a_x"
    assert names[photos[1]] == "a_x_png"
    assert len({name.lower() for name in names.values()}) == len(photos)


def test_predictions_load_as_coco_results(tiny_run, verb, tmp_path):
    result, data = tiny_run
    verb("predict", f"checkpoint={result.checkpoint}", f"images={data / 'images'}", f"output_dir={tmp_path}")
    truth = COCO()
    truth.dataset = {
        "images": json.loads((tmp_path / "coco_images.json").read_text()),
        "annotations": [],
        "categories": [{"id": k + 1} for k in range(3)],
    }
    truth.createIndex()
    assert len(truth.loadRes(str(tmp_path / "coco_results.json")).getAnnIds()) == 24


def test_predict_names_broken_photos_and_goes_on(tiny_run, verb, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    rotated = Image.new("RGB", (60, 40))
    exif = rotated.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    rotated.save(tmp_path / "photos" / "rotated.jpg", exif=exif)
    outcome = verb(
        "predict",
        f"checkpoint={tiny_run[0].checkpoint}",
        f"images={tmp_path / 'photos'}",
        f"output_dir={tmp_path / 'out'}",
    )
    assert outcome.code == 0
    assert "broken.jpg is broken" in outcome.err
    row = json.loads((tmp_path / "out" / "predictions.json").read_text())[0]
    assert Image.open(tmp_path / "out" / row["overlay"]).size == (40, 60)
    nothing = verb("predict", f"checkpoint={tiny_run[0].checkpoint}", "images=nowhere")
    assert "no such file or folder" in nothing.line


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=spg_plain"],
        ["method=cam"],
        ["method=has", "method.step.grid_size=8"],
        ["method=cutmix"],
        ["method=adl"],
        ["method=acol"],
        ["guidance=direct"],
        ["shared_weights=off", "fuse=off"],
        ["schedule=step", "optimizer.nesterov=false"],
        ["schedule=constant", "thresholds=benchmark_default", "module.freeze=a1"],
        ["score_map=attention", "eval_checkpoint=best"],
        ["callbacks.best=null", "callbacks.progress=null", "callbacks.learning_rate=null", "logger=none"],
        ["stem.map_size=14", "stem.network.a1_stage=4", "method.network.b2_input=a2"],
    ],
    ids=" ".join,
)
def test_every_switch_trains(tiny_run, tmp_path, overrides):
    _, data = tiny_run
    cfg = compose(
        "train", [*TINY, f"dataset.root={data}", "trainer.max_epochs=1", f"output_dir={tmp_path}", *overrides]
    )
    assert train(cfg).metrics["test/num_images"] == 12


def test_same_seed_same_numbers(tiny_run, tmp_path):
    result, data = tiny_run
    cfg = compose("train", [*TINY, f"dataset.root={data}", "trainer.max_epochs=1", f"output_dir={tmp_path}"])
    again = train(cfg)
    assert again.metrics == result.metrics
    ours, theirs = (torch.load(r.checkpoint, weights_only=True)["state_dict"] for r in (again, result))
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_wandb_off_line(tiny_run, tmp_path, monkeypatch):
    """A run without a key is kept on disk and asks for nothing."""
    _, data = tiny_run
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    cfg = compose(
        "train",
        [*TINY, f"dataset.root={data}", "trainer.max_steps=1", f"output_dir={tmp_path / 'run'}", "logger=wandb"],
    )
    train(cfg)
    assert list((tmp_path / "run").rglob("*.wandb"))


@pytest.mark.slow
def test_inception_trains_two_steps_on_cub(tiny_run, verb):
    _, data = tiny_run
    outcome = verb(
        "train", "stem=inception_v3", "dataset=cub", f"dataset.root={data}", "trainer.max_steps=2", "stem.weights=none",
        "dataset.batch_size=2", "data.num_workers=0", "gallery_images=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_a_checkpoint_is_evaluated_with_the_maps_of_other_explanations(tiny_run, tmp_path):
    result, data = tiny_run
    names = ["attention", "cam", "grad_cam", "grad_cam_plus_plus", "layer_cam", "input_gradient"]
    found = evaluate(
        compose(
            "evaluate",
            [f"checkpoint={result.checkpoint}", f"root={data}", f"score_map.name=[{','.join(names)}]", "num_workers=0",
             "gallery_images=2", "report_images=2", "accelerator=cpu", f"output_dir={tmp_path}"],
        )
    )  # fmt: skip
    assert list(found.per_map) == names
    assert found.per_map["cam"] == found.per_map["attention"]
    assert found.per_map["input_gradient"] != found.per_map["attention"]
    assert (tmp_path / "gallery" / "overview.png").is_file()


def test_the_last_checkpoint_is_the_last_and_what_was_measured(tmp_path):
    data = write_cub(tmp_path / "cub")
    tiny = [*TINY, f"dataset.root={data}", "trainer.max_epochs=3", "logger=none", "gallery_images=0", "report_images=0"]
    result = train(compose("train", [*tiny, "callbacks.best.mode=max", f"output_dir={tmp_path / 'run'}"]))
    steps = {
        name: torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)["global_step"]
        for name in ("best", "last")
    }
    assert steps["best"] < steps["last"] == 6, "the best has to be an earlier one to prove anything"
    again = evaluate(
        compose(
            "evaluate",
            [f"checkpoint={result.checkpoint}", f"root={data}", "num_workers=0", "gallery_images=0", "report_images=0",
             "accelerator=cpu", "num_thresholds=50", f"output_dir={tmp_path / 'again'}"],
        )
    )  # fmt: skip
    for split in ("val", "test"):
        for name, curves in result.evaluation.curves[split].items():
            other = again.curves[split][name]
            assert (curves.top1, curves.top5) == (other.top1, other.top5)
            assert abs(curves.hits - other.hits).max() <= 1  # a box at the edge of a threshold
