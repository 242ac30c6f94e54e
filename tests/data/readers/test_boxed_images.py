"""`evaluate maps=... boxes=... images=...`: any method's maps against boxes of a folder of one's own."""

import csv
import json

import numpy as np
import pytest

from tests.trees import write_folder


@pytest.fixture
def photos(tmp_path):
    """A folder of photos in class folders with boxes, and a map near each box."""
    folder = write_folder(tmp_path / "photos", "coco", parts=("",))
    write_folder(tmp_path / "photos", "csv", parts=("",))
    y, x = np.mgrid[:40, :60]
    for line in (folder / "boxes.csv").read_text().splitlines()[1:]:
        image, *corners = line.split(",")
        x0, y0, x1, y1 = map(int, corners)
        path = (tmp_path / "maps" / image).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        blob = np.exp(-(((x - (x0 + x1) / 2) / (x1 - x0)) ** 2) - ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2)
        np.save(path, blob.astype(np.float32))
    return folder


def own(tmp_path, *more):
    return f"maps={tmp_path}/maps", f"images={tmp_path}/photos", f"output={tmp_path}/out/scores.json", *more


def test_boxes_of_an_own_folder(cli, photos, tmp_path):
    (tmp_path / "maps" / "emu" / "3.npy").unlink()
    rows = (photos / "boxes.csv").read_text().splitlines()
    (photos / "boxes.csv").write_text("\n".join(row for row in rows if not row.startswith("emu/3")))
    done = cli("evaluate", *own(tmp_path, "boxes=boxes.csv"))  # below the folder of the images
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert metrics["test/num_images"] == metrics["test/num_boxed"] == 11  # one has neither box nor map
    assert metrics["test/gt_known_error_oracle"] == 0
    found = list(csv.DictReader((tmp_path / "out" / "scores_images.csv").open()))
    assert [row["image"] for row in found[:2]] == ["cat/0.jpg", "cat/1.jpg"]
    assert [row["class"] for row in found] == ["cat"] * 4 + ["dog"] * 4 + ["emu"] * 3
    assert [",".join([row["image"], *(f"{c:.0f}" for c in json.loads(row["true_boxes"])[0])]) for row in found] == rows[
        1:12
    ]
    page = (tmp_path / "out" / "scores_report.html").read_text()
    assert page.count("<img") == 11  # each once

    val = f"val.maps={tmp_path}/maps", f"val.boxes={photos}/boxes.csv"
    (photos / "class_labels.txt").write_text(
        "\n".join(f"{row['image']},{['cat', 'dog', 'emu'].index(row['class'])}" for row in found)
    )
    (photos / "image_ids.txt").write_text("\n".join(row["image"] for row in found))
    (photos / "image_sizes.txt").write_text("\n".join(f"{row['image']},60,40" for row in found))
    (photos / "localization.txt").write_text("\n".join(rows[1:12]))
    for truth in (f"boxes={photos}/boxes.csv", f"metadata={photos}"):
        done = cli("evaluate", *own(tmp_path, *val, truth))
        assert done.code == 0, done.err
        again = json.loads((tmp_path / "out" / "scores.json").read_text())
        assert again["val/gt_known_error"] == 0
        assert {key: value for key, value in again.items() if "oracle" in key}.items() >= {
            key: value for key, value in metrics.items() if "gt_known_error_oracle" in key
        }.items()


def test_mistakes_of_boxes_get_one_line(cli, photos, tmp_path):
    (tmp_path / "maps" / "emu" / "3.npy").unlink()
    assert "1 of 12 maps are missing, first: emu/3.npy" in cli("evaluate", *own(tmp_path, "boxes=boxes.json")).line
    for more, told in (
        (["boxes=nothing.csv"], "boxes=nothing.csv"),
        (["boxes=boxes.csv", "metadata=x"], "with one of metadata="),
        (["boxes=boxes.csv", "masks=x"], "leave masks out"),
        (["boxes=boxes.csv", "images=null"], "give their folder, images="),
    ):
        assert told in cli("evaluate", *own(tmp_path, *more)).line
    line = cli("evaluate", "checkpoint=x.ckpt", "boxes=boxes.csv").line
    assert "give dataset=folder dataset.reader.boxes=" in line
