"""The command `predict`."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from spg_lightning import Localizer
from spg_lightning.checkpoints.metadata import KEY
from spg_lightning.predicting.rows import decode_mask


def test_predict_on_file_folder_and_glob(tiny_run, cli, tmp_path):
    result, data = tiny_run
    photos = data / "images" / "001.Class_0"
    for images, count in ((photos / "Photo_0.jpg", 1), (photos, 8), (f'"{data}/images/*/Photo_1.jpg"', 3)):
        out = tmp_path / str(count)
        outcome = cli(
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


def test_boxes_of_the_whole_image_are_told(tiny_run, cli, tmp_path):
    result, data = tiny_run
    words = (f"checkpoint={result.checkpoint}", f"images={data / 'images'}", "overlays=none")
    done = cli("predict", *words, "threshold=0", f"output_dir={tmp_path / 'low'}")
    assert done.code == 0, done.err
    assert "24 of 24 boxes cover more than 90% of their image" in done.out + done.err
    done = cli("predict", *words, "threshold=1", f"output_dir={tmp_path / 'high'}")
    assert "boxes cover" not in done.out + done.err


def test_predictions_load_as_coco_results(tiny_run, cli, tmp_path):
    result, data = tiny_run
    cli("predict", f"checkpoint={result.checkpoint}", f"images={data / 'images'}", f"output_dir={tmp_path}")
    truth = COCO()
    truth.dataset = {
        "images": json.loads((tmp_path / "coco_images.json").read_text()),
        "annotations": [],
        "categories": [{"id": k + 1} for k in range(3)],
    }
    truth.createIndex()
    assert len(truth.loadRes(str(tmp_path / "coco_results.json")).getAnnIds()) == 24


def test_predict_names_and_skips_broken_images(tiny_run, cli, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    rotated = Image.new("RGB", (60, 40))
    exif = rotated.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    rotated.save(tmp_path / "photos" / "rotated.jpg", exif=exif)
    outcome = cli(
        "predict",
        f"checkpoint={tiny_run[0].checkpoint}",
        f"images={tmp_path / 'photos'}",
        f"output_dir={tmp_path / 'out'}",
    )
    assert outcome.code == 0
    assert "broken.jpg is broken" in outcome.err
    row = json.loads((tmp_path / "out" / "predictions.json").read_text())[0]
    assert Image.open(tmp_path / "out" / row["overlay"]).size == (40, 60)
    nothing = cli("predict", f"checkpoint={tiny_run[0].checkpoint}", "images=nowhere")
    assert "no such file or folder" in nothing.line


def test_truncated_images_are_used_skipped_or_refused(tiny_run, cli, tmp_path):
    (tmp_path / "photos").mkdir()
    for name, left in (("whole", None), ("cut_1", -200), ("cut_2", -300)):
        photo = (tiny_run[1] / "images" / "001.Class_0" / "Photo_0.jpg").read_bytes()
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(photo[:left])
    words = [f"checkpoint={tiny_run[0].checkpoint}", f"images={tmp_path / 'photos'}", "num_workers=1"]
    used = cli("predict", *words, f"output_dir={tmp_path / 'used'}")
    assert used.code == 0, used.err
    assert len(json.loads((tmp_path / "used" / "predictions.json").read_text())) == 3
    assert used.err.count("2 images cut off at the end") == used.err.count("cut off") == 1
    skipped = cli("predict", *words, "on_corrupt_image=skip", f"output_dir={tmp_path / 'skipped'}")
    assert skipped.err.count("is broken (image file is truncated") == 2
    assert len(json.loads((tmp_path / "skipped" / "predictions.json").read_text())) == 1
    refused = cli("predict", *words, "on_corrupt_image=error", f"output_dir={tmp_path / 'refused'}")
    assert "cut_1.jpg is broken" in refused.line
    assert "set on_corrupt_image=skip" in refused.line
    skipped = cli("predict", *words, "on_corrupt_image=skip", f"output_dir={tmp_path / 'refused'}")
    assert skipped.code == 0, skipped.err  # the same folder, as the message says
    wrong = cli("predict", *words, "on_corrupt_image=ignore", f"output_dir={tmp_path / 'wrong'}")
    assert "on_corrupt_image=ignore: choose use, skip or error" in wrong.line


def test_one_image_that_cannot_be_read_is_no_plural(tiny_run, cli, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    outcome = cli("predict", f"checkpoint={tiny_run[0].checkpoint}", f"images={tmp_path / 'a.jpg'}")
    assert f"images={tmp_path / 'a.jpg'}: the image could not be read" in outcome.line


def predict(cli, result, images, folder, *words):
    outcome = cli("predict", f"checkpoint={result.checkpoint}", f"images={images}", f"output_dir={folder}", *words)
    assert outcome.code == 0, outcome.err
    return outcome, json.loads((folder / "predictions.json").read_text())


def test_rows_equal_the_localizers(tiny_run, cli, tmp_path):
    result, data = tiny_run
    _, rows = predict(
        cli, result, data / "images", tmp_path / "out", "top_k=2", "overlays=none", "masks=rle", "writer=[none]"
    )
    localizer = Localizer.load(result.checkpoint)
    assert len(rows) == 48
    for row in rows[::7]:
        found = localizer(row["image"], top_k=2)[row["rank"] - 1]
        assert row["class"] == found.class_name
        assert row["score"] == pytest.approx(found.score, abs=1e-6)
        assert list(row["box"].values()) == pytest.approx([round(c, 2) for c in found.box])
        assert np.array_equal(decode_mask(row["mask"]), found.mask)
        assert (row["width"], row["height"]) == (60, 40)
    assert not (tmp_path / "out" / "overlays").exists()
    assert not (tmp_path / "out" / "coco_results.json").exists()


def test_masks_regions_and_light_overlays(tiny_run, cli, tmp_path):
    result, data = tiny_run
    words = ("masks=png", "overlays=jpg", "max_side=30", "regions=all", "min_area=0", "score_map=b1", "threshold=0.6")
    _, rows = predict(cli, result, data / "images" / "001.Class_0", tmp_path / "out", *words)
    assert len(rows) > 8  # several regions somewhere
    for image in {row["image"] for row in rows}:
        own = [row for row in rows if row["image"] == image]
        assert [row["region"] for row in own] == list(range(1, len(own) + 1))
        union = np.any([decode_mask(row["mask"]) for row in own], axis=0)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / own[0]["mask_file"])) > 127, union)
        assert Image.open(tmp_path / "out" / own[0]["overlay"]).size == (30, 20)


def test_the_same_command_goes_on_and_other_settings_are_refused(tiny_run, cli, tmp_path):
    result, data = tiny_run
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    source = sorted((data / "images" / "001.Class_0").iterdir())
    for path in source[:3]:
        (photos / path.name).write_bytes(path.read_bytes())
    _, first = predict(cli, result, photos, out)
    for path in source[3:5]:
        (photos / path.name).write_bytes(path.read_bytes())
    (photos / source[0].name).write_bytes(source[5].read_bytes())  # it changed
    outcome, rows = predict(cli, result, photos, out)
    assert "2 of 5 images are finished already" in outcome.err
    assert rows[1:3] == first[1:3]
    assert (rows[0]["image"], rows[0]["overlay"]) == (first[0]["image"], first[0]["overlay"])
    assert (out / "predictions.jsonl").read_text().count(source[1].name) < (
        out / "predictions.jsonl"
    ).read_text().count(source[0].name)
    words = (f"checkpoint={result.checkpoint}", f"images={photos}", f"output_dir={out}", "top_k=2")
    assert "top_k=1 there, 2 here" in cli("predict", *words).line
    assert cli("predict", *words, "overwrite=true").code == 0
    assert len(json.loads((out / "predictions.json").read_text())) == 10


def test_results_inside_the_folder_of_photos_are_no_photos(tiny_run, cli, tmp_path):
    result, data = tiny_run
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in (data / "images" / "001.Class_0").iterdir():
        (photos / path.name).write_bytes(path.read_bytes())
    for _ in range(2):
        _, rows = predict(cli, result, photos, photos / "boxes")
        assert len(rows) == 8
    _, rows = predict(cli, result, photos, photos / "more")
    assert len(rows) == 8
    assert (
        "choose another"
        in cli("predict", f"checkpoint={result.checkpoint}", f"images={photos}", f"output_dir={photos}").line
    )


def test_resume_finds_the_newest_unfinished_one(tiny_run, cli, tmp_path):
    result, data = tiny_run
    words = (f"checkpoint={result.checkpoint}", f"images={data / 'images'}", "overlays=none")
    assert "no unfinished prediction" in cli("predict", *words, "resume=true").line
    assert cli("predict", *words).code == 0
    (folder,) = (tmp_path / "cwd" / "runs" / "predict").iterdir()
    whole = (folder / "predictions.json").read_bytes()
    (folder / "predictions.json").unlink()
    journal = folder / "predictions.jsonl"
    journal.write_bytes(journal.read_bytes()[:-50])  # torn
    assert cli("predict", *words, "resume=true").code == 0
    assert (folder / "predictions.json").read_bytes() == whole


def test_weights_that_are_not_finite_are_one_line(tiny_run, cli, tmp_path):
    result, data = tiny_run
    checkpoint = torch.load(result.checkpoint, weights_only=True)
    checkpoint["state_dict"]["network.a4.bias"][0] = torch.nan
    torch.save(checkpoint, tmp_path / "nan.ckpt")
    outcome = cli(
        "predict", f"checkpoint={tmp_path / 'nan.ckpt'}", f"images={data / 'images'}", f"output_dir={tmp_path / 'out'}"
    )
    assert "not finite" in outcome.line
    assert not (tmp_path / "out" / "predictions.json").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("crop", 10**6), ("crop", "x"), ("threshold", "x"), ("threshold", 1e308), ("score_map", 7)]
)
def test_nonsense_in_a_checkpoint_is_one_line(tiny_run, cli, tmp_path, key, value):
    result, data = tiny_run
    checkpoint = torch.load(result.checkpoint, weights_only=True)
    if key == "crop":
        checkpoint[KEY]["crop"] = value
    else:
        checkpoint[KEY]["localization"][key] = value
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    outcome = cli(
        "predict", f"checkpoint={tmp_path / 'odd.ckpt'}", f"images={data / 'images'}", f"output_dir={tmp_path / 'out'}"
    )
    assert outcome.code == 1
    assert str(value)[:5] in outcome.line


def test_a_wrong_value_does_not_keep_the_right_one_out(tiny_run, cli, tmp_path):
    result, data = tiny_run
    words = (
        f"checkpoint={result.checkpoint}",
        f"images={data / 'images'}",
        f"output_dir={tmp_path / 'out'}",
        "overlays=none",
    )
    assert "masks=gif: choose none, png, rle or polygons" in cli("predict", *words, "masks=gif").line
    assert "page_maps: score_map=b9 does not exist" in cli("predict", *words, "page=true", "page_maps=[b9]").line
    assert cli("predict", *words, "masks=png").code == 0


def test_strange_photos(tiny_run, cli, tmp_path):
    result, _ = tiny_run
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (1, 1)).save(photos / "one.png")
    Image.new("L", (20000, 20000)).save(photos / "huge.png")
    for name in ("new\nline.jpg", "q\"uo'te.jpg", "<script>alert(1)<.jpg", "[a],{b}.jpg"):
        Image.new("RGB", (30, 20), "red").save(photos / name, "JPEG")
    outcome, rows = predict(
        cli, result, photos, tmp_path / "out", "masks=polygons", "page=true", "writer=[coco,yolo,voc,label_studio,cvat]"
    )
    assert "huge.png" in outcome.err
    assert {row["image"].rsplit("/", 1)[-1] for row in rows} == {
        "one.png", "new\nline.jpg", 'q"uo\'te.jpg', "<script>alert(1)<.jpg", "[a],{b}.jpg"
    }  # fmt: skip
    (one,) = (row for row in rows if row["image"].endswith("one.png"))
    assert all(0 <= corner <= 1 for corner in one["box"].values())
    assert not (tmp_path / "out" / "page" / "index.html").read_text().count("<script>alert")


def test_the_test_images_of_the_run_come_with_their_true_boxes(tiny_run, cli, tmp_path):
    result, data = tiny_run
    words = (
        f"checkpoint={result.checkpoint}",
        "split=test",
        f"output_dir={tmp_path / 'out'}",
        "page=true",
        "overlays=none",
    )
    outcome = cli("predict", *words)
    assert outcome.code == 0, outcome.err
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(rows) == result.metrics["test/num_images"]
    assert all(str(data) in row["image"] for row in rows)
    written = sorted((tmp_path / "out" / "page" / "data").glob("*.js"))
    assert len(written) == len(rows)
    assert '"truth"' in written[0].read_text()
    assert "images=... is needed" in cli("predict", f"checkpoint={result.checkpoint}").line
    assert "choose val or test" in cli("predict", f"checkpoint={result.checkpoint}", "split=train").line


def test_the_page_offers_the_maps_of_the_network_with_and_without_refinement(tiny_run):
    from spg_lightning.predicting.page_maps import page_score_maps
    from spg_lightning.score_maps import PAMR, processed, resolve
    from spg_lightning.score_maps.normalization import MinMax

    network = Localizer.load(tiny_run[0].checkpoint).network
    refined = processed(resolve("b1", network.branches), {"minmax": MinMax()}, {"pamr": PAMR(1, [1], 0.1, 32)})
    localizer = Localizer(network, refined, 0.2, 64)
    assert set(page_score_maps(localizer, ["b1", "c"])) == {"c, refined", "b1, not refined"}
    assert set(page_score_maps(localizer, [])) == {"b1, not refined"}
    localizer.score_maps |= page_score_maps(localizer, "auto")
    (found,) = localizer(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    assert {"b1, not refined", "attention, refined", "c, refined"} <= set(found.others)
    assert found.others["b1, not refined"].shape == (64, 64)


@pytest.mark.parametrize("value", ["fol[a]der", "a,b", "spa ce{x}: (1)"])
def test_folders_with_the_grammars_own_letters(tiny_run, cli, tmp_path, value):
    result, _ = tiny_run
    photos = tmp_path / value
    photos.mkdir()
    Image.new("RGB", (30, 20), "red").save(photos / "1.jpg")
    _, rows = predict(cli, result, photos, tmp_path / "out")
    assert len(rows) == 1


def rows_of_a_killed_run(words, out, rng, finished):
    """Start the command, kill it at a random moment, and repeat until it ends by itself; return the number of kills."""
    kills = 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "spg_lightning.predict", *words], stderr=subprocess.PIPE, cwd=out.parent
        )
        deadline = time.monotonic() + rng.uniform(*finished)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            finished = (finished[0], finished[1] * 1.3)
            continue
        assert process.returncode == 0, process.stderr.read().decode()
        return kills


@pytest.mark.slow
def test_a_killed_run_continues_and_its_rows_are_equal(tiny_run, tmp_path):
    result, _ = tiny_run
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for k in range(300):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(photos / f"{k:03d}.jpg")
    words = [
        f"checkpoint={result.checkpoint}",
        f"images={photos}",
        "masks=rle",
        "overlays=jpg",
        "num_workers=1",
        "batch_size=4",
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    rows_of_a_killed_run([*words, f"output_dir={whole}"], whole, rng, (600, 601))
    kills = rows_of_a_killed_run([*words, f"output_dir={killed}"], killed, rng, (3, 15))
    assert kills >= 1
    rows = [json.loads((folder / "predictions.json").read_text()) for folder in (whole, killed)]
    assert rows[0] == rows[1]
    lines = [json.loads(line)["image"] for line in (killed / "predictions.jsonl").read_text().splitlines()[1:]]
    assert len(lines) == len(set(lines)) == 300
    assert {file.name for file in (killed / "overlays").iterdir()} == {
        file.name for file in (whole / "overlays").iterdir()
    }
