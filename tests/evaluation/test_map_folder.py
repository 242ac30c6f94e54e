"""`evaluate maps=...`: any method's maps against ground truth in the benchmark's format."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spg_lightning.data.map_files import find_maps
from spg_lightning.data.readers.benchmark_metadata import read_benchmark
from spg_lightning.evaluation.map_folder import MapSet, count_maps
from spg_lightning.localization import LocalizationMetric, scan_thresholds, summarize
from tests.conftest import SHARED
from tests.trees import replace_line, write_maps

IDS = [f"birds/photo_{i:02d}.jpg" for i in range(40)]


@pytest.fixture
def tree(tmp_path):
    return write_maps(tmp_path)


def words(tree, *more):
    return [f"maps={tree}/maps", f"metadata={tree}/metadata", f"output={tree}/out/scores.json", *more]


def test_metrics_tables_and_page(cli, tree):
    done = cli("evaluate", *words(tree, f"val.maps={tree}/maps", f"val.metadata={tree}/metadata"), "map_size=own")
    assert done.code == 0, done.err
    assert f"results: {tree}/out/scores.json\n" in done.err
    metrics = json.loads((tree / "out" / "scores.json").read_text())
    assert metrics["test/num_images"] == 40
    assert metrics["test/gt_known_error"] == metrics["test/gt_known_error_oracle"] <= 10
    assert metrics["test/max_box_acc"] == 100 - metrics["test/gt_known_error"]
    assert metrics["test/max_box_acc_iou30"] >= metrics["test/max_box_acc_iou50"] >= metrics["test/max_box_acc_iou70"]
    assert not any("loc_top" in name or "cls" in name or "pxap" in name for name in metrics)
    rows = list(csv.DictReader((tree / "out" / "scores_images.csv").open()))
    assert [row["image"] for row in rows] == IDS
    assert find_maps(tree / "maps", [row["image"] for row in rows]) == find_maps(tree / "maps", IDS)
    assert 100 - 100 * np.mean([int(row["localized"]) for row in rows]) == metrics["test/gt_known_error"]
    # a row's box, in pixels of the photo, from the map alone
    found = scan_thresholds(np.load(tree / "maps/birds/photo_07.npy"), np.zeros((0, 4), np.int64))
    box, _ = found.box_at(metrics["test/threshold"])
    assert [float(rows[7][c]) for c in ("x0", "y0")] == [2 * box[0], 2 * box[1]]
    curves = list(csv.DictReader((tree / "out" / "scores_curves.csv").open()))
    assert len(curves) == 2 * 1000
    best = max(int(row["gt_known"]) for row in curves if row["split"] == "test")
    assert 100 - 100 * best / 40 == metrics["test/gt_known_error_oracle"]
    page = (tree / "out" / "scores_report.html").read_text()
    assert page.count("<img") == 16
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "https://matplotlib.org", ""
    ).replace("http://creativecommons.org", "")
    assert Image.open(tree / "out" / "scores_curves.png").width > 800


def test_val_has_rows_on_request(cli, tree):
    val = f"val.maps={tree}/maps", f"val.metadata={tree}/metadata"
    found = {}
    for image_rows in ("chosen", "all"):
        assert cli("evaluate", *words(tree, *val, f"image_rows={image_rows}")).code == 0
        found[image_rows] = list(csv.DictReader((tree / "out" / "scores_images.csv").open()))
    assert [(row["split"], row["image"]) for row in found["all"]] == [(s, i) for s in ("test", "val") for i in IDS]
    assert found["all"][:40] == found["chosen"]
    assert [{**row, "split": "test"} for row in found["all"][40:]] == found["chosen"]
    truth = json.loads(found["chosen"][0]["true_boxes"])
    assert len(truth) == 2
    assert truth == read_benchmark(tree / "metadata").boxes_of(0).tolist()


def test_any_workers_and_chunks_count_the_same(tree):
    records = read_benchmark(tree / "metadata")
    maps = MapSet(records, find_maps(tree / "maps", records.images), None)
    one, four = (
        count_maps(maps, lambda: LocalizationMetric(100, keep_scans=True), workers, "", None) for workers in (1, 4)
    )
    assert np.array_equal(one.curves.hits, four.curves.hits)
    assert summarize(one.curves, one.curves) == summarize(four.curves, four.curves)
    assert sorted(one.scans) == sorted(four.scans) == list(range(40))


def test_predictions_give_top1_and_top5(cli, tree):
    lines = [f"birds/photo_{i:02d}.jpg,{i % 5 if i % 2 else 7},9,9,9,{i % 5},3" for i in range(40)]
    (tree / "predictions.csv").write_text("\n".join(lines))
    done = cli("evaluate", *words(tree, f"predictions={tree}/predictions.csv"))
    assert done.code == 0, done.err
    metrics = json.loads((tree / "out" / "scores.json").read_text())
    assert metrics["test/cls_top1_error"] == 50
    assert metrics["test/cls_top5_error"] == 0
    assert metrics["test/loc_top5_error_oracle"] == metrics["test/gt_known_error_oracle"]
    assert metrics["test/loc_top1_error_oracle"] >= 50


def test_masks_give_pxap(cli, tmp_path):
    tree = write_maps(tmp_path, masks=True)
    done = cli("evaluate", *words(tree, f"masks={tree}/masks"))
    assert done.code == 0, done.err
    metrics = json.loads((tree / "out" / "scores.json").read_text())
    assert 30 < metrics["test/pxap"] <= 100
    own = {"test/threshold_oracle", "test/mask_iou_oracle", "test/mask_f1_oracle"}
    assert set(metrics) == {"test/num_images", "test/num_boxed", "test/pxap", *own}
    assert 0 < metrics["test/mask_iou_oracle"] < metrics["test/mask_f1_oracle"] <= 100
    assert metrics["test/num_boxed"] == 0
    # half of the images ignore what is no object: nothing there is background
    assert (tree / "out" / "scores_report.html").is_file()


@pytest.mark.shared
def test_the_benchmarks_own_numbers(cli, tmp_path):
    folder = SHARED / "fixtures" / "evaluator"
    for name, score_map in np.load(folder / "score_maps.npz").items():
        np.save(tmp_path / name.replace(".jpg", ".npy"), score_map)
    expected = json.loads((folder / "expected_boxes.json").read_text())["step=0.001,contours=all"]
    done = cli(
        "evaluate", f"maps={tmp_path}", f"metadata={folder}/metadata", f"output={tmp_path}/a.json", "map_size=own"
    )
    assert done.code == 0
    metrics = json.loads((tmp_path / "a.json").read_text())
    for iou, accuracy in expected["max_box_acc"].items():
        assert metrics[f"test/max_box_acc_iou{iou}_oracle"] == accuracy
    done = cli(
        "evaluate", f"maps={tmp_path}", f"metadata={folder}/metadata_masks", f"masks={folder}/masks",
        f"output={tmp_path}/b.json", "map_size=own",
    )  # fmt: skip
    assert done.code == 0
    pxap = json.loads((folder / "expected_pxap.json").read_text())["pxap"]
    assert json.loads((tmp_path / "b.json").read_text())["test/pxap"] == pytest.approx(pxap, abs=1e-9)


def test_five_predicted_classes_cost_one_scan_an_image(monkeypatch):
    """The label's map alone is scanned, whatever classes are predicted: at most five scans were allowed."""
    calls = []
    monkeypatch.setattr(
        "spg_lightning.localization.metrics.scan_thresholds", lambda *args: calls.append(1) or scan_thresholds(*args)
    )
    metric = LocalizationMetric(num_thresholds=10)
    right = torch.tensor([False, True, True])
    metric.update(torch.rand(3, 8, 8), [np.array([[0, 0, 4, 4]])] * 3, right, torch.ones(3, dtype=torch.bool))
    assert len(calls) == 3


def rename(tree, new):
    """Give the images new ids, and their maps the ids' names."""
    for name in ("image_ids", "class_labels", "image_sizes", "localization"):
        file = tree / "metadata" / f"{name}.txt"
        text = file.read_text()
        for i, image_id in enumerate(new):
            text = text.replace(f"birds/photo_{i:02d}.jpg", image_id)
        file.write_text(text)
    for i, image_id in enumerate(new):
        (tree / f"maps/birds/photo_{i:02d}.npy").rename(tree / "maps" / f"{image_id}.npy")


def test_ids_with_dots_keep_their_own_maps(cli, tmp_path):
    tree = write_maps(tmp_path, count=3)
    expected = cli("evaluate", *words(tree))
    assert expected.code == 0
    before = list(csv.DictReader((tree / "out" / "scores_images.csv").open()))
    rename(tree, ["scene", "scene.001", "scene.002"])
    assert cli("evaluate", *words(tree)).code == 0
    after = list(csv.DictReader((tree / "out" / "scores_images.csv").open()))
    assert [row["image"] for row in after] == ["scene", "scene.001", "scene.002"]
    assert [row["iou"] for row in after] == [row["iou"] for row in before]


def test_two_images_never_share_a_map(cli, tmp_path):
    tree = write_maps(tmp_path, count=2)
    rename(tree, ["x.jpg", "x.png"])
    (tree / "maps/x.jpg.npy").rename(tree / "maps/x.npy")
    (tree / "maps/x.png.npy").unlink()
    assert "is the map of both x.jpg and x.png" in cli("evaluate", *words(tree)).line


def test_val_without_boxes_chooses_no_threshold(cli, tmp_path):
    tree, val = write_maps(tmp_path / "test", count=3), write_maps(tmp_path / "val", count=3, masks=True)
    more = [f"val.maps={val}/maps", f"val.metadata={val}/metadata", f"val.masks={val}/masks"]
    assert "has no boxes to choose the threshold on" in cli("evaluate", *words(tree, *more)).line
    assert "without val.maps=" in cli("evaluate", *words(tree, more[1])).line
    assert (
        "val.maps=nowhere is not a folder" in cli("evaluate", *words(tree, "val.maps=nowhere", more[1], more[2])).line
    )


def test_one_predicted_class_an_image_gives_top1_alone(cli, tree):
    (tree / "predictions.csv").write_text("\n".join(f"birds/photo_{i:02d}.jpg,{i % 5}" for i in range(40)))
    assert cli("evaluate", *words(tree, f"predictions={tree}/predictions.csv")).code == 0
    metrics = json.loads((tree / "out" / "scores.json").read_text())
    assert metrics["test/cls_top1_error"] == 0
    assert not any("top5" in name for name in metrics)
    (tree / "predictions.csv").write_text("birds/photo_00.jpg,-1")
    assert "predictions.csv, line 1" in cli("evaluate", *words(tree, f"predictions={tree}/predictions.csv")).line


def test_other_byte_orders_and_sizes_are_maps_too(cli, tmp_path):
    tree = write_maps(tmp_path, count=4, masks=False)
    path = tree / "maps/birds"
    np.save(path / "photo_00.npy", np.load(path / "photo_00.npy").astype(">f4"))
    np.save(path / "photo_01.npy", np.load(path / "photo_01.npy").astype(np.float16))
    np.save(path / "photo_02.npy", np.load(path / "photo_02.npy").astype(np.longdouble))
    np.save(path / "photo_03.npy", np.asfortranarray(np.load(path / "photo_03.npy")[::2, ::4]))
    assert cli("evaluate", *words(tree)).code == 0
    np.save(path / "photo_03.npy", np.zeros((2, 70000), np.float32))
    assert "is too large" in cli("evaluate", *words(tree)).line


def test_a_failure_leaves_nothing_behind(cli, tmp_path):
    tree = write_maps(tmp_path, count=3)
    (tree / "photos").mkdir()
    done = cli("evaluate", *words(tree, f"images={tree}/photos"))
    assert "photo_0" in done.line
    assert "leave images= out" in done.line
    assert not (tree / "out").exists()
    assert not list((tree / "cwd").iterdir())
    replace_line(tree / "metadata/image_sizes.txt", "birds/photo_01.jpg", "birds/photo_01.jpg,10,5000")
    assert cli("evaluate", *words(tree)).code == 0
    (tree / "out2" / "x.json").mkdir(parents=True)
    for output in (f"{tree}/out2/x.json", f"{tree}/out2/x", f"{tree}/metadata/image_ids.txt/x.json"):
        assert "output=" in cli("evaluate", *words(tree)[:2], f"output={output}").line


@pytest.mark.parametrize("wrong", ["num_thresholds=0", "num_thresholds=abc", "num_workers=-1", "report_images=1.5"])
def test_settings_that_are_no_counts(wrong, cli, tree):
    assert f"{wrong}: choose a whole number" in cli("evaluate", *words(tree, wrong)).line


def test_folders_with_numbers_and_brackets_for_names(cli, tmp_path):
    tree = write_maps(tmp_path, count=3)
    (tree / "maps").rename(tree / "cwd" / "123")
    assert "begins with ./" in cli("evaluate", "maps=123", f"metadata={tree}/metadata", "output=1/2.json").line
    assert cli("evaluate", "maps=./123", f"metadata={tree}/metadata", "output=1/2.json").code == 0
    (tree / "cwd" / "123").rename(tree / "cwd" / "maps[x]")
    done = cli("evaluate", "'maps=\"maps[x]\"'".strip("'"), f"metadata={tree}/metadata", "output=3.json")
    assert done.code == 0, done.err
    assert "maps[x]" in done.out


def damaged_map(value=None, shape=(48, 64), dtype=np.float32):
    score_map = np.full(shape, 0.5, dtype)
    if value is not None:
        score_map[(3,) * len(shape)] = value
    return lambda tree: np.save(tree / "maps/birds/photo_05.npy", score_map)


def metadata(file, start, new):
    return lambda tree: replace_line(tree / "metadata" / file, start, new)


def remove_maps(tree):
    for i in (3, 5, 8, 9):
        (tree / f"maps/birds/photo_{i:02d}.npy").unlink()


def pickled_map(tree):
    np.save(tree / "maps/birds/photo_05.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


MISTAKES = {
    "nan": (damaged_map(np.nan), ["photo_05.npy", "[0, 1]"]),
    "out of range": (damaged_map(1.2), ["photo_05.npy", "[0, 1]", "0.5 to 1.2"]),
    "three dimensions": (damaged_map(shape=(1, 48, 64)), ["photo_05.npy", "(1, 48, 64)"]),
    "integers": (damaged_map(dtype=np.uint8), ["photo_05.npy", "uint8"]),
    "pickle": (pickled_map, ["photo_05.npy", "not a readable .npy array"]),
    "no array": (lambda tree: (tree / "maps/birds/photo_05.npy").write_bytes(b""), ["photo_05.npy", "not a readable"]),
    "maps missing": (remove_maps, ["4 of 40 maps are missing", "photo_03.npy, birds/photo_05.npy, birds/photo_08.npy"]),
    "no ground truth": (metadata("localization.txt", "birds/photo_04.jpg", None), ["localization.txt", "photo_04.jpg"]),
    "no label": (metadata("class_labels.txt", "birds/photo_04.jpg", None), ["class_labels.txt", "photo_04.jpg"]),
    "no size": (metadata("image_sizes.txt", "birds/photo_04.jpg", None), ["image_sizes.txt", "photo_04.jpg"]),
    "malformed box": (
        metadata("localization.txt", "birds/photo_04.jpg", "birds/photo_04.jpg,1,2,x,4"),
        ["localization.txt, line 6", "1,2,x,4"],
    ),
    "box too short": (
        metadata("localization.txt", "birds/photo_04.jpg", "birds/photo_04.jpg,1,2,3,"), ["localization.txt, line 6"]
    ),
    "box reversed": (
        metadata("localization.txt", "birds/photo_04.jpg", "birds/photo_04.jpg,9,2,3,4"),
        ["localization.txt, line 6", "ends before it begins"],
    ),
    "malformed label": (
        metadata("class_labels.txt", "birds/photo_04.jpg", "birds/photo_04.jpg;3"), ["class_labels.txt, line 5"]
    ),
    "size zero": (
        metadata("image_sizes.txt", "birds/photo_04.jpg", "birds/photo_04.jpg,0,96"), ["image_sizes.txt", "photo_04.jpg"]
    ),
    "twice": (
        metadata("class_labels.txt", "birds/photo_04.jpg", "birds/photo_03.jpg,1"), ["class_labels.txt, line 5", "twice"]
    ),
    "absolute id": (metadata("image_ids.txt", "birds/photo_04.jpg", "/etc/x.jpg"), ["image_ids.txt, line 5"]),
    "huge label": (metadata("class_labels.txt", "birds/photo_04.jpg", "birds/photo_04.jpg,200000000"), ["class_labels.txt, line 5"]),
    "box of no number": (
        metadata("localization.txt", "birds/photo_04.jpg", "birds/photo_04.jpg,1,2,nan,4"), ["localization.txt, line 6"]
    ),
    "zip": (lambda tree: (tree / "maps/birds/photo_05.npy").write_bytes(b"PK\x03\x04"), ["photo_05.npy", "not a readable"]),
    "file missing": (lambda tree: (tree / "metadata/image_sizes.txt").unlink(), ["metadata=", "image_sizes.txt is missing"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_line(mistake, cli, tree):
    spoil, told = MISTAKES[mistake]
    spoil(tree)
    done = cli("evaluate", *words(tree))
    assert done.code == 1
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert len(lines) == 1, done.err
    assert all(text in lines[0] for text in told), lines[0]
    assert not (tree / "out" / "scores.json").exists()


def test_masks_of_the_wrong_kind(cli, tmp_path):
    tree = write_maps(tmp_path, count=3, masks=True)
    done = cli("evaluate", *words(tree))
    assert "masks=<folder>" in done.err
    mask = tree / "masks/birds/photo_01_m.png"
    for picture, told in (
        (Image.effect_noise((128, 96), 90).convert("RGB").point(lambda v: v), None),
        (Image.fromarray(np.arange(128 * 96 * 3, dtype=np.uint8).reshape(96, 128, 3)), "mode RGB"),
        (Image.fromarray(np.full((96, 128), 40000, np.uint16)), "mode I;16"),
    ):
        picture.save(mask)
        done = cli("evaluate", *words(tree, f"masks={tree}/masks"))
        if told is None:  # grey in three equal channels
            assert done.code == 0, done.err
        else:
            assert done.code == 1
            assert "photo_01_m.png" in done.err
            assert told in done.err
            assert len(done.err.strip().splitlines()) == 1
    mask.unlink()
    assert "photo_01_m.png is missing" in cli("evaluate", *words(tree, f"masks={tree}/masks")).err


def test_a_constant_map_is_legal(cli, tmp_path):
    tree = write_maps(tmp_path, count=2)
    for i in range(2):
        np.save(tree / f"maps/birds/photo_{i:02d}.npy", np.full((48, 64), 0.4, np.float32))
    done = cli("evaluate", *words(tree))
    assert done.code == 0, done.err
    # the whole map at every threshold below its value's share: a level above a constant map holds nothing
    rows = list(csv.DictReader((tree / "out" / "scores_images.csv").open()))
    assert {(row["x0"], row["y0"], row["x1"], row["y1"]) for row in rows} == {("0.0", "0.0", "128.0", "96.0")}


def resize_maps(tree, size, interpolation):
    for path in (tree / "maps").rglob("*.npy"):
        np.save(path, cv2.resize(np.load(path), size, interpolation=interpolation))


def ious(tree):
    return [row["iou"] for row in csv.DictReader((tree / "out/scores_images.csv").open())]


def test_coarse_maps_are_compared_in_the_common_frame(cli, tree):
    """The true boxes are not rounded to the seven cells of the maps, unless asked for, and then a warning says so."""
    resize_maps(tree, (7, 7), cv2.INTER_AREA)
    found = {}
    for size in (224, "own"):
        done = cli("evaluate", *words(tree), f"map_size={size}")
        assert done.code == 0, done.err
        found[size] = ious(tree)
        assert json.loads((tree / "out/scores_provenance.json").read_text())["map_size"] == size
        side = 224 if size == 224 else 7
        assert f"Compared at {side} x {side} pixels." in " ".join(done.out.split())
        assert ("40 of 40 images are rounded to a grid below 56 x 56 pixels (the first: 7 x 7)" in done.err) is (
            size == "own"
        )
    resize_maps(tree, (224, 224), cv2.INTER_LINEAR)
    assert cli("evaluate", *words(tree), "map_size=own").code == 0
    assert ious(tree) == found[224]
    assert found[224] != found["own"]
    assert (
        "map_size=0: choose a whole number, 1 or more and at most 4096, or own"
        in cli("evaluate", *words(tree), "map_size=0").line
    )


def test_maps_without_content_and_of_mixed_sizes_are_counted(cli, tree):
    clean = cli("evaluate", *words(tree))
    assert "constant" not in clean.err
    assert "maps of" not in clean.err
    for i, value in enumerate((0, 0, 0.4)):
        np.save(tree / f"maps/birds/photo_{i:02d}.npy", np.full((48, 64), value, np.float32))
    np.save(tree / "maps/birds/photo_09.npy", np.eye(7, dtype=np.float32))
    done = cli("evaluate", *words(tree))
    assert done.code == 0, done.err
    assert "3 of 40 maps are constant (2 all zero), first photo_00.npy" in done.err
    assert "maps of 2 sizes (39 of 64 x 48, 1 of 7 x 7)" in done.err


def test_whole_image_boxes_and_one_class_for_all_are_told(cli, tree):
    for path in (tree / "maps").rglob("*.npy"):
        np.save(path, np.full((48, 64), 0.4, np.float32))
    (tree / "predictions.csv").write_text("\n".join(f"{image},3" for image in IDS))
    done = cli("evaluate", *words(tree, f"predictions={tree}/predictions.csv"))
    assert done.code == 0, done.err
    assert "40 of 40 boxes cover more than 90% of their image" in done.err
    assert "all 40 images are predicted as 3" in done.err


def test_maps_of_the_size_of_their_images_are_no_mixture(cli, tmp_path):
    tree = write_maps(tmp_path, count=3)
    for i, size in enumerate(((128, 96), (96, 128), (100, 100))):
        path = tree / f"maps/birds/photo_{i:02d}.npy"
        np.save(path, cv2.resize(np.load(path), size))
        replace_line(tree / "metadata/image_sizes.txt", IDS[i], f"{IDS[i]},{size[0]},{size[1]}")
    done = cli("evaluate", *words(tree), "map_size=own")
    assert "sizes" not in done.err
    assert "Compared at the own size of each map." in " ".join(done.out.split())


def test_neither_or_both(cli, tree):
    assert "checkpoint=<file> or maps=" in cli("evaluate").err
    assert "checkpoint=<file> or maps=" in cli("evaluate", *words(tree, "checkpoint=x.ckpt")).err
    assert "metadata=<folder" in cli("evaluate", f"maps={tree}/maps").err
