"""The folder reader: what it reads, and the one line it gives for each mistake."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from spg_lightning.data import read_folder
from spg_lightning.errors import UserError
from tests.trees import replace_line, write_folder

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
BOXES = {"csv": "boxes.csv", "coco": "boxes.json", "voc": "boxes"}


def read(folder, labels=None, split="auto", shares=SHARES, seed=0, boxes=None, apply_exif_orientation=True, masks=None):
    return read_folder(str(folder), labels, split, shares, seed, boxes, apply_exif_orientation, masks)


@pytest.mark.parametrize("kind", BOXES)
def test_boxes_are_the_same_in_every_format(tmp_path, kind):
    splits = read(write_folder(tmp_path, kind), boxes=BOXES[kind])
    assert splits.val is None
    assert splits.train.class_names == ("cat", "dog", "emu")
    assert splits.train.images[0] == "train/cat/0.jpg"
    for records in (splits.train, splits.test):
        assert np.bincount(records.labels).tolist() == [4, 4, 4]
        for i in range(len(records)):
            (x0, y0, x1, y1) = records.boxes_of(i)[0].astype(int)
            pixels = np.asarray(Image.open(records.root / records.images[i]))
            assert pixels[y0:y1, x0:x1, records.labels[i]].mean() > 150


def test_a_table_says_the_same_as_folders(tmp_path):
    folder = write_folder(tmp_path)
    by_folder, by_table = read(folder), read(folder, labels="labels.csv")
    for part in ("train", "test"):
        one, other = getattr(by_folder, part), getattr(by_table, part)
        assert one.images == other.images
        assert np.array_equal(one.labels, other.labels)
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_bytes(b"\xef\xbb\xbfimage,class,split\r\n" + text.replace("\n", "\r\n").encode())
    assert read(folder, labels="labels.csv").test.images == by_folder.test.images


def test_shares_are_stratified_seeded_and_independent_of_order(tmp_path):
    folder = write_folder(tmp_path, parts=("",), per_class=10)
    splits = read(folder)
    assert [np.bincount(r.labels).tolist() for r in (splits.train, splits.val, splits.test)] == [
        [7, 7, 7],
        [1, 1, 1],
        [2, 2, 2],
    ]
    everything = {*splits.train.images, *splits.val.images, *splits.test.images}
    assert len(everything) == 30
    (folder / "labels.csv").write_text("\n".join((folder / "labels.csv").read_text().splitlines()[::-1]))
    assert {*read(folder, labels="labels.csv").test.images} == {*splits.test.images}
    assert {*read(folder, seed=1).test.images} != {*splits.test.images}
    assert read(folder, shares={"train": 0.8, "test": 0.2}).val is None


def test_boxes_of_a_turned_photo_are_in_the_photo_as_people_see_it(tmp_path):
    folder = write_folder(tmp_path)
    path = folder / "test/cat/0.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    (folder / "boxes.csv").write_text("test/cat/0.jpg,5,20,35,60\n")  # 40 x 60 as seen, 60 x 40 as stored
    apply_exif_orientation = read(folder, boxes="boxes.csv")
    assert apply_exif_orientation.test.sizes[0].tolist() == [40, 60]
    assert apply_exif_orientation.test.boxes_of(0).tolist() == [[5, 20, 35, 60]]
    assert len(apply_exif_orientation.test.boxes_of(1)) == 0
    from spg_lightning.data import ImageDataset
    from spg_lightning.data.transforms import test_transform

    sample = ImageDataset(apply_exif_orientation.test, test_transform(40), "error", with_masks=False)[0]
    assert sample["boxes"][0].tolist() == pytest.approx([5, 20 * 40 / 60, 35, 40])
    with pytest.raises(UserError, match="line 1: the box 5, 20, 35, 60 exceeds its image of 60 x 40"):
        read(folder, boxes="boxes.csv", apply_exif_orientation=False)


def row(text):
    return lambda f: replace_line(f / "boxes.csv", "train/cat/1.jpg", f"train/cat/1.jpg,{text}")


def other_class(f):
    (f / "test/elk").mkdir()
    (f / "test/cat/0.jpg").rename(f / "test/elk/0.jpg")


def loop(f):
    (f / "train/cat/0.jpg").unlink()
    (f / "train/cat/0.jpg").symlink_to(f / "train/cat/0.jpg")


def folder_loop(f):
    (f / "train/loop").symlink_to(f / "train")


def label(text):
    return lambda f: replace_line(f / "labels.csv", "train/cat/1.jpg", text)


def coco_id(f):
    content = json.loads((f / "boxes.json").read_text())
    content["images"][1]["id"] = 0
    (f / "boxes.json").write_text(json.dumps(content))


def coco_box(*box):
    def spoil(f):
        content = json.loads((f / "boxes.json").read_text())
        content["annotations"][3]["bbox"] = box
        (f / "boxes.json").write_text(json.dumps(content))

    return spoil


def bomb(f):
    # a picture of 40000 x 40000 pixels in a file of two hundred bytes
    header = b"P5 40000 40000 255\n"
    (f / "train/cat/0.jpg").write_bytes(header + bytes(200))


MISTAKES = {
    "zero bytes": (
        lambda f: (f / "train/cat/0.jpg").write_bytes(b""),
        {},
        ["cat/0.jpg is not a readable image", "quarantine=true"],
    ),
    "bomb": (bomb, {}, ["cat/0.jpg is not a readable image", "too many pixels"]),
    "link to itself": (loop, {}, ["cat/0.jpg is not a readable image"]),
    "folders in a loop": (folder_loop, {}, ["train/loop is a class without images"]),
    "reversed": (row("30,5,20,25"), {"boxes": "boxes.csv"}, ["boxes.csv, line 3", "30, 5, 20, 25 ends before"]),
    "outside": (row("30,5,70,25"), {"boxes": "boxes.csv"}, ["boxes.csv, line 3", "exceeds its image", "60 x 40"]),
    "NaN": (row("nan,5,20,25"), {"boxes": "boxes.csv"}, ["boxes.csv, line 3", "finite"]),
    "columns": (row("3,5,20"), {"boxes": "boxes.csv"}, ["boxes.csv, line 3", "image,x0,y0,x1,y1"]),
    "word": (row("3,5,20,x"), {"boxes": "boxes.csv"}, ["boxes.csv, line 3", "image,x0,y0,x1,y1"]),
    "no such photo": (
        lambda f: replace_line(f / "boxes.csv", "train/cat/1.jpg", "cat/9.jpg,0,0,5,5"),
        {"boxes": "boxes.csv"},
        ["boxes.csv, line 3", "cat/9.jpg: there is no such image"],
    ),
    "ambiguous photo": (
        lambda f: replace_line(f / "boxes.csv", "train/cat/1.jpg", "cat/1.jpg,0,0,5,5"),
        {"boxes": "boxes.csv"},
        ["boxes.csv, line 3", "2 images end with that"],
    ),
    "id twice": (
        label("train/cat/0.jpg,cat,train"),
        {"labels": "labels.csv"},
        ["labels.csv, line 2", "is listed twice"],
    ),
    "above": (label("../x.jpg,cat,train"), {"labels": "labels.csv"}, ["labels.csv, line 2", "../x.jpg", "refused"]),
    "absolute": (label("/etc/x.jpg,cat,train"), {"labels": "labels.csv"}, ["labels.csv, line 2", "refused"]),
    "part": (
        label("train/cat/1.jpg,cat,trian"),
        {"labels": "labels.csv"},
        ["labels.csv, line 2", "'trian' is not a split"],
    ),
    "label columns": (label("train/cat/1.jpg,cat"), {"labels": "labels.csv"}, ["line 2", "image,class[,split]"]),
    "not UTF-8": (
        lambda f: (f / "labels.csv").write_bytes(b"train/cat/0.jpg,cat,train\ntrain/c\xe9.jpg,cat,train\n"),
        {"labels": "labels.csv"},
        ["labels.csv, line 2", "not UTF-8"],
    ),
    "name not UTF-8": (
        lambda f: os.rename(os.fsencode(f / "train/cat/0.jpg"), os.fsencode(f / "train/cat") + b"/\xe9.jpg"),  # noqa: PTH104
        {},
        ["train/cat", "not UTF-8", "rename"],
    ),
    "missing photo": (label("train/cat/none.jpg,cat,train"), {"labels": "labels.csv"}, ["none.jpg is missing"]),
    "unknown class": (other_class, {}, ["the class elk (test/elk/0.jpg) has no training image"]),
    "empty class": (lambda f: (f / "train/gnu").mkdir(), {}, ["train/gnu is a class without images"]),
    "missing part": (
        lambda f: (f / "test").rename(f / "tset"),
        {"split": "folders"},
        ["the split test is missing", "test"],
    ),
    "shares": (lambda f: None, {"shares": {"train": 0.9, "test": 0.3}, "labels": "two.csv"}, ["add up to 1"]),
    "COCO id twice": (coco_id, {"boxes": "boxes.json"}, ["boxes.json", "two images have the id 0"]),
    "COCO reversed": (coco_box(10, 10, -5, 4), {"boxes": "boxes.json"}, ["boxes.json, annotation 3", "ends before"]),
    "COCO NaN": (coco_box(float("nan"), 1, 5, 4), {"boxes": "boxes.json"}, ["boxes.json, annotation 3", "finite"]),
    "COCO columns": (
        coco_box(1, 2, 3),
        {"boxes": "boxes.json"},
        ["boxes.json, annotation 3", "bbox x, y, width, height"],
    ),
    "COCO outside": (
        coco_box(50, 10, 50, 4),
        {"boxes": "boxes.json"},
        ["boxes.json, annotation 3", "exceeds its image"],
    ),
    "no COCO": (
        lambda f: (f / "boxes.json").write_text("[1]"),
        {"boxes": "boxes.json"},
        ["not a COCO file: it needs images, each with id"],
    ),
    "half a character": (
        lambda f: (f / "boxes.json").write_text('{"images": "\\ud800"}'),
        {"boxes": "boxes.json"},
        ["boxes.json is not JSON"],
    ),
    "no XML": (
        lambda f: (f / "boxes/train/cat/0.xml").write_text("<x>"),
        {"boxes": "boxes"},
        ["cat/0.xml is not an annotation"],
    ),
    "XML bomb": (
        lambda f: (f / "boxes/train/cat/0.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'),
        {"boxes": "boxes"},
        ["cat/0.xml", "declares entities"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_line(tmp_path, name):
    spoil, options, expected = MISTAKES[name]
    kind = next((kind for kind, file in BOXES.items() if file == options.get("boxes")), "")
    folder = write_folder(tmp_path, kind, per_class=2)
    (folder / "two.csv").write_text(
        "".join(f"{p}/{c}/{i}.jpg,{c}\n" for p in ("train", "test") for c in ("cat", "dog") for i in (0, 1))
    )
    spoil(folder)
    with pytest.raises(UserError) as error:
        read(folder, **options)
    assert "\n" not in str(error.value)
    for words in expected:
        assert words in str(error.value)
