"""The command `predict`."""

import json

import numpy as np
from PIL import Image
from pycocotools.coco import COCO


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
