"""A Weights & Biases run as it lies on disk: all that is promised is in it, and says what the run folder says."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image
from workspace import definition, main, workspace

from spg_lightning import UserError, build_data, build_module, compose, load_network, train
from spg_lightning.localization.metrics import CURVES
from spg_lightning.localizer import Localizer
from spg_lightning.loggers.wandb_results import COLUMNS, FIRST_CLASS, MASK_IDS
from spg_lightning.reporting.gallery import short_name
from spg_lightning.reporting.overlay import resize_labels
from spg_lightning.reporting.samples import collect_views
from spg_lightning.score_maps import resolve
from tests.conftest import TINY
from tests.loggers.wandb_files import Run

MAPS = ("attention", "c", "fused", "b1", "b2")
# every override of the run that identifies a variant; data set, stem and method are named apart
WORDS = sorted(
    [word for word in TINY if word.split("=")[0] not in ("dataset", "data.num_workers", "gallery_images", "trainer.accelerator",
                                                          "trainer.log_every_n_steps")]
    + ["guidance=direct", "thresholds.b1.high=0.4", "trainer.max_epochs=1"]
)  # fmt: skip
VARIANT = " ".join(["spg", *WORDS])
LOSSES = ("cls", "b2", "b1", "c", "total")


@pytest.fixture(scope="module")
def logged(away, tiny_run, tmp_path_factory):
    """A run with ablations, logged off line: its result, the data folder, the file read back."""
    folder = tmp_path_factory.mktemp("logged") / "run"
    overrides = ["guidance=direct", "thresholds.b1.high=0.4", "trainer.max_epochs=1", "logger=wandb", "seed=3"]
    result = train(compose("train", [*TINY, f"dataset.root={tiny_run[1]}", f"output_dir={folder}", *overrides]))
    (offline,) = (folder / "wandb").glob("offline-run-*")
    return result, Run(offline)


def test_losses_masks_rates_and_throughput_of_the_steps(logged):
    run = logged[1]
    for name in LOSSES:
        assert len(run.all(f"train/loss_{name}")) == 2
    for name in ("b2", "b1", "c"):
        shares = [run.all(f"train/mask_{name}/{kind}") for kind in MASK_IDS]
        assert [sum(of_step) for of_step in zip(*shares, strict=True)] == pytest.approx([1, 1])
    assert run.all("lr-SGD/new_weight")[0] == pytest.approx(0.01)
    for name in ("images_per_second", "step_seconds", "data_wait_seconds", "memory_gb"):
        assert len(run.all(f"train/{name}")) == 1  # a step needs one before it
    assert run.all("trainer/global_step")[-1] == 2


def test_every_metric_of_the_run_folder(logged):
    result, run = logged
    metrics = json.loads((result.output_dir / "metrics.json").read_text())
    assert len(metrics) > 150
    for key, value in metrics.items():
        assert run.all(key)[-1] == pytest.approx(value), key


def test_config_provenance_and_what_it_is_compared_by(logged):
    result, run = logged
    assert run.config["thresholds"]["b1"] == {"high": 0.4, "low": 0.05}
    assert run.config["seed"] == 3
    assert run.config["variant"] == VARIANT
    assert run.config["provenance"] == json.loads((result.output_dir / "provenance.json").read_text())
    assert run.config["score_map_chosen"] == result.evaluation.score_map
    group = f"cub efficientnet_lite0 {VARIANT}"
    assert len(group) > 128, "otherwise its shortening is not tested"
    assert run.run.run_group[:119] == group[:119]
    assert len(run.run.run_group) == 128
    assert run.run.display_name == f"{VARIANT} seed=3"
    assert run.run.job_type == "train"
    assert list(run.run.tags) == ["cub", "efficientnet_lite0", "spg", *WORDS]
    assert run.exit_code == 0


@pytest.mark.parametrize("split", ["val", "test"])
def test_curves_as_table_and_chart(logged, split):
    result, run = logged
    table = run.table(f"{split}/curves_table")
    assert table["columns"] == ["score_map", "threshold", *CURVES]
    with (result.output_dir / "curves.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    assert len(table["data"]) == len(rows) == 50 * len(MAPS)
    for (name, threshold, *shares), row in zip(table["data"], rows, strict=True):
        assert (name, f"{threshold:.6g}") == (row["score_map"], row["threshold"])
        assert shares == pytest.approx([100 * int(row[curve]) / int(row["num_images"]) for curve in CURVES])
    chart = run.config["_wandb"]["visualize"][f"{split}/curves"]
    assert chart["panel_config"]["fieldSettings"] == {"x": "threshold", "y": "gt_known", "stroke": "score_map"}


def test_curves_that_lie_over_those_of_other_runs(logged):
    result, run = logged
    for name in MAPS:
        accuracy = result.evaluation.curves["test"][name].accuracy("gt_known")
        assert run.all(f"curve/{name}/gt_known") == pytest.approx(accuracy.tolist())
        assert run.metrics[f"curve/{name}/gt_known"].step_metric == "curve/threshold"
    assert run.all("curve/threshold") == pytest.approx((np.arange(50) / 50).tolist())


@pytest.fixture(scope="module")
def shown(logged, tiny_run):
    """The gallery's photos, made anew from the checkpoint."""
    result, _ = logged
    network, metadata = load_network(result.checkpoint)
    overrides = ["guidance=direct", "thresholds.b1.high=0.4", "seed=3"]
    cfg = compose("train", [*TINY, f"dataset.root={tiny_run[1]}", "output_dir=unused", *overrides])
    data = build_data(cfg)
    data.setup()
    where = metadata.localization
    localizer = Localizer(network, resolve(where["score_map"], network.branches), where["threshold"])
    return collect_views(localizer, data, build_module(cfg, network).loss, 2)


def test_the_gallerys_photos_with_boxes_and_masks(logged, shown):
    run = logged[1]
    (gallery,) = run.all("test/gallery")
    files = run.folder / "files"
    assert gallery["count"] == len(shown) == 2
    assert [tuple(view.masks) for view in shown] == [("b2", "b1", "c")] * 2
    numbers = [MASK_IDS["background"], MASK_IDS["foreground"], MASK_IDS["ignored"]]  # of 0, 1 and -1
    for k, view in enumerate(shown):
        assert np.array_equal(np.asarray(Image.open(files / gallery["filenames"][k])), view.photo)
        assert gallery["captions"][k].endswith(f"{short_name(view.predicted)}, IoU {view.iou:.2f}")
        for name, ternary in view.masks.items():
            mask = np.asarray(Image.open(files / gallery["all_masks"][k][f"supervises_{name}"]["path"]))
            height, width = view.photo.shape[:2]
            assert np.array_equal(mask, np.array(numbers)[resize_labels(ternary, width, height)])
        boxes = {n: json.loads((files / b["path"]).read_text()) for n, b in gallery["all_boxes"][k].items()}
        (truth,), (found,) = (boxes[name]["box_data"] for name in ("ground_truth", "predicted"))
        corners = ("minX", "minY", "maxX", "maxY")
        assert [truth["position"][c] for c in corners] == list(view.truth[0])
        assert [found["position"][c] for c in corners] == list(view.box)
        assert found["domain"] == "pixel"
        assert found["scores"]["iou"] == pytest.approx(view.iou)
        names = boxes["predicted"]["class_labels"]
        assert names[str(truth["class_id"])] == short_name(view.label)
        assert names[str(found["class_id"])] == short_name(view.predicted)
        assert names == {"1": "foreground", "2": "background", "3": "ignored"} | {
            str(FIRST_CLASS + i): f"Class {i}" for i in range(3)
        }


def test_the_table_of_photos(logged, shown):
    run = logged[1]
    table = run.table("test/photos")
    assert table["columns"] == list(COLUMNS)
    for row, view in zip(table["data"], shown, strict=True):
        told = dict(zip(COLUMNS, row, strict=True))
        assert told["image"] == view.image
        assert told["predicted"] == short_name(view.predicted)
        assert told["IoU"] == pytest.approx(view.iou)
        assert told["localized"] == (view.iou >= 0.5)
        assert [told[corner] for corner in ("x0", "y0", "x1", "y1")] == list(view.box)
    # the images themselves travel in the table's artifact
    full = json.loads(run.artifacts["test/photos.table.json"].read_text())
    for row, view in zip(full["data"], shown, strict=True):
        photo, heat = row[:2]
        assert np.array_equal(np.asarray(Image.open(run.artifacts[photo["path"]])), view.photo)
        assert photo["boxes"].keys() == {"ground_truth", "predicted"}
        assert photo["masks"].keys() == {f"supervises_{name}" for name in view.masks}
        assert Image.open(run.artifacts[heat["path"]]).size == (60, 40)


def test_two_runs_of_one_process_stay_two(logged, away, tiny_run, tmp_path):
    """As in a sweep; the second fails, and says so. It has neither branches nor a gallery."""
    cfg = compose(
        "train",
        [
            *TINY, f"dataset.root={tiny_run[1]}", "trainer.max_steps=1", f"output_dir={tmp_path}", "logger=wandb",
            "method=spg_plain", "gallery_images=0", "logger.group=mine", "logger.tags=[here]",
        ],
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spg_lightning.loggers.wandb_results.log_tables", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(cfg)
    (offline,) = (tmp_path / "wandb").glob("offline-run-*")
    run = Run(offline)
    assert run.run.run_id != logged[1].run.run_id
    assert run.exit_code == 1
    assert run.run.run_group == "mine"
    assert list(run.run.tags)[:3] == ["cub", "efficientnet_lite0", "spg_plain"]
    assert list(run.run.tags)[-1] == "here"
    assert run.all("curve/attention/gt_known")
    assert not run.all("test/gallery")
    assert not any(key.startswith("train/mask") for row in run.history for key in row)


@pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")  # of wandb-workspaces itself
def test_the_workspace_shows_what_runs_log_and_groups_it(logged, capsys, monkeypatch):
    pytest.importorskip("wandb_workspaces")
    made = definition(workspace("me", "mine", "b1"))
    assert json.loads(json.dumps(made)) == made
    assert (made["entity"], made["project"], made["displayName"]) == ("me", "mine", "SPG ablations")
    section = made["spec"]["section"]
    assert section["runSets"][0]["grouping"] == [{"section": "run", "name": "group"}]
    panels = [panel for part in section["panelBankConfig"]["sections"] for panel in part["panels"]]
    keys = {key for row in logged[1].history for key in row}
    plots = [panel["config"] for panel in panels if panel["viewType"] in ("Bar Chart", "Run History Line Plot")]
    assert len(plots) > 30
    for plot in plots:
        assert {*plot["metrics"], *filter(None, [plot.get("xAxis")])} <= keys, plot
        assert (plot["groupBy"], plot["groupAgg"], plot["groupArea"]) == ("group", "mean", "minmax")
    assert [p["config"]["mediaKeys"] for p in panels if p["viewType"] == "Media Browser"] == [["test/gallery"]]
    assert any("test/photos" in json.dumps(panel) for panel in panels if panel["viewType"] == "Weave")

    monkeypatch.setattr("sys.argv", ["workspace", "--entity", "me", "--map", "c", "--dry-run"])
    main()
    assert "curve/c/iou70" in capsys.readouterr().out


def test_a_workspace_without_its_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r"pip install spg-lightning\[workspace\]"):
        workspace("me", "mine", "b1")
    monkeypatch.setattr("sys.argv", ["workspace", "--entity", "me"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.startswith("error: a workspace needs wandb-workspaces")
