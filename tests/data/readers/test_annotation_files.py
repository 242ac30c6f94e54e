"""Annotation files of other tools: boxes, masks, and one line for each mistake."""

import json

import numpy as np
import pytest
from PIL import Image

from spg_lightning.data import read_folder
from spg_lightning.data.index.cached_reader import fingerprint_of
from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.errors import UserError
from tests.trees import write_folder

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
IMAGE, SIZE = "train/cat/1.jpg", (60, 40)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return write_folder(tmp_path / "photos", per_class=2)


def read(folder, boxes=None, masks=None):
    return read_folder(str(folder), None, "auto", SHARES, 0, boxes, True, masks).train


def boxes_of(folder, name):
    records = read(folder, name)
    return records.boxes_of(list(records.images).index(IMAGE)).tolist()


def mask_of(folder, name):
    records = read(folder, masks=name)
    return read_ternary_mask(records, list(records.images).index(IMAGE), None)


def yolo(folder, *lines, name="train/cat/1", data="names: [cat, dog]\n"):
    path = folder / "yolo/labels" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    (folder / "yolo/data.yaml").write_text(data)
    return "yolo"


def tasks(
    folder, *results, image=f"/data/local-files/?d=somewhere/photos/{IMAGE}", size=SIZE, kind="annotations", **more
):
    for result in results:
        result |= {"original_width": size[0], "original_height": size[1]}
    task = {"id": 7, "data": {"image": image}, kind: [{"result": list(results)}], **more}
    (folder / "tasks.json").write_text(json.dumps([task]))
    return "tasks.json"


def rectangle(x, y, width, height, rotation=0):
    return {
        "type": "rectanglelabels",
        "value": {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": ["cat"]},
    }


def outline(*points):
    return {"type": "polygonlabels", "value": {"points": [list(p) for p in points], "polygonlabels": ["cat"]}}


def cvat(folder, *shapes, name=IMAGE, size=SIZE, before=""):
    image = f'<image id="0" name="{name}" width="{size[0]}" height="{size[1]}">{"".join(shapes)}</image>'
    (folder / "cvat.xml").write_text(
        f"<?xml version='1.0'?>{before}<annotations><version>1.1</version>{image}</annotations>"
    )
    return "cvat.xml"


BOX = '<box label="cat" xtl="6" ytl="8" xbr="30" ybr="20"/>'
MASK = '<mask label="cat" rle="1, 2, 1" left="10" top="5" width="2" height="2"/>'


def coco(folder, segmentation, box=(6, 8, 24, 12), name=IMAGE):
    annotation = {"id": 5, "image_id": 1, "bbox": box, "segmentation": segmentation}
    text = json.dumps({"images": [{"id": 1, "file_name": name}], "annotations": [annotation]})
    (folder / "coco.json").write_text(text)
    return "coco.json"


def test_the_same_box_from_every_tool(folder):
    expected = [[6, 8, 30, 20]]
    assert boxes_of(folder, yolo(folder, "1 0.3 0.35 0.4 0.3")) == [pytest.approx(expected[0])]
    assert boxes_of(folder, yolo(folder, "0 .1 .2 .5 .2 .5 .5 .1 .5")) == [pytest.approx(expected[0])]
    assert boxes_of(folder, tasks(folder, rectangle(10, 20, 40, 30))) == [pytest.approx(expected[0])]
    assert boxes_of(folder, cvat(folder, BOX)) == expected
    assert boxes_of(folder, cvat(folder, '<polygon points="6,8;30,8;30,20.0"/>')) == expected
    assert boxes_of(folder, coco(folder, [])) == expected
    assert boxes_of(folder, [cvat(folder, BOX), coco(folder, [])]) == expected * 2


def test_the_same_pixels_from_every_tool(folder):
    expected = np.zeros(SIZE[::-1], np.int8)
    expected[8:20, 6:30] = 1
    corners = [(10, 20), (50, 20), (50, 50), (10, 50)]
    runs = [6 * 40 + 8, *([12, 28] * 24)]
    runs[-1] = 40 * 60 - sum(runs[:-1])
    files = {
        "YOLO": lambda: yolo(folder, "0 .1 .2 .5 .2 .5 .5 .1 .5"),
        "Label Studio": lambda: tasks(folder, outline(*corners)),
        "CVAT polygon": lambda: cvat(folder, '<polygon points="6,8;30,8;30,20;6,20"/>'),
        "CVAT mask": lambda: cvat(folder, f'<mask rle="0, {24 * 12}" left="6" top="8" width="24" height="12"/>'),
        "COCO polygon": lambda: coco(folder, [[6, 8, 30, 8, 30, 20, 6, 20]]),
        "COCO runs": lambda: coco(folder, {"size": [40, 60], "counts": runs}),
    }
    for name, write in files.items():
        assert np.array_equal(mask_of(folder, write()), expected), name
    (folder / "drawn/train/cat").mkdir(parents=True)
    Image.fromarray(expected.astype(np.uint8) * 255).save(folder / "drawn/train/cat/1.png")
    assert np.array_equal(mask_of(folder, "drawn"), expected)


def test_compressed_run_lengths_are_those_of_pycocotools(folder):
    from pycocotools.mask import encode

    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random(SIZE[::-1]) < rng.random()
        counts = encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert np.array_equal(mask_of(folder, coco(folder, {"size": [40, 60], "counts": counts})) == 1, mask)


def test_a_brush_is_as_label_studio_packs_it(folder):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[8:20, 6:30] = 255
    mask[10, 7::2] = 0
    result = {"type": "brushlabels", "value": {"format": "rle", "rle": brush.mask2rle(mask), "brushlabels": ["cat"]}}
    name = tasks(folder, result)
    assert np.array_equal(mask_of(folder, name) == 1, mask > 0)
    assert boxes_of(folder, name) == [[6, 8, 30, 20]]


def test_an_outline_of_a_box_is_no_second_box(folder):
    nested = outline((10, 20), (50, 20), (50, 50)) | {"parentID": "a"}
    assert len(boxes_of(folder, tasks(folder, rectangle(10, 20, 40, 30) | {"id": "a"}, nested))) == 1
    grouped = [shape.replace("label", 'group_id="3" label') for shape in (BOX, MASK)]
    assert len(boxes_of(folder, cvat(folder, *grouped))) == 1
    assert len(boxes_of(folder, cvat(folder, BOX, MASK))) == 2


def test_a_turned_rectangle_counts_as_the_box_around_it(folder):
    (box,) = boxes_of(folder, tasks(folder, rectangle(50, 25, 20, 50, rotation=90)))  # 12 x 20 pixels at (30, 10)
    assert box == pytest.approx([10, 10, 30, 22])


@pytest.mark.parametrize(
    "image",
    [IMAGE, f"/data/local-files/?d={IMAGE}", "/data/upload/3/0a1b2c3d-only.jpg", f"https://x.org/a/photos/{IMAGE}"],
)
def test_images_are_found_by_the_addresses_of_label_studio(folder, image):
    (folder / "train/dog/only.jpg").write_bytes((folder / IMAGE).read_bytes())
    records = read(folder, tasks(folder, rectangle(10, 20, 40, 30), image=image))
    boxed = [name for i, name in enumerate(records.images) if len(records.boxes_of(i))]
    assert boxed == ["train/dog/only.jpg" if "upload" in image else IMAGE]


def test_predictions_are_read_only_on_request(folder):
    name = tasks(folder, rectangle(10, 20, 40, 30), kind="predictions")
    with pytest.raises(UserError, match=r"holds predictions that nobody accepted; .* with tasks\.json:predictions$"):
        read(folder, name)
    assert boxes_of(folder, f"{name}:predictions") == [pytest.approx([6, 8, 30, 20])]
    corrected = [{"result": []}]  # somebody deleted the box
    assert boxes_of(folder, tasks(folder, rectangle(10, 20, 40, 30), kind="predictions", annotations=corrected)) == []


def test_images_without_a_mask_are_ignored_not_background(folder):
    records = read(folder, masks=cvat(folder, MASK))
    for i, image in enumerate(records.images):
        values = {*np.unique(read_ternary_mask(records, i, (20, 10) if image != IMAGE else None)).tolist()}
        assert values == ({0, 1} if image == IMAGE else {-1})
    splits = read_folder(str(folder), None, "auto", SHARES, 0, None, True, "cvat.xml")
    assert not splits.test.masks


def test_masks_are_drawn_once_under_a_name_of_their_pixels(folder):
    name = cvat(folder, MASK)
    first = {
        path: path.stat().st_mtime_ns
        for path in [folder / file for row in read(folder, masks=name).masks for file in row]
    }
    (path,) = first
    assert path.parent == folder / ".spg_lightning/masks"
    read(folder, masks=name)
    assert path.stat().st_mtime_ns == first[path]
    (other,) = [file for row in read(folder, masks=cvat(folder, MASK.replace("1, 2, 1", "2, 2"))).masks for file in row]
    assert folder / other != path


def test_the_index_is_stale_after_a_label_changed(folder):
    arguments = {"root": str(folder), "labels": None, "boxes": yolo(folder, "0 .5 .5 .5 .5"), "masks": None}
    before = fingerprint_of(read_folder, arguments)
    yolo(folder, "0 .5 .5 .5 .4")
    assert fingerprint_of(read_folder, arguments) != before


def twice(folder):
    content = json.loads((folder / "tasks.json").read_text())
    (folder / "tasks.json").write_text(json.dumps(content * 2))
    return "tasks.json"


def text(folder, name, content):
    (folder / name).write_text(content)
    return name


HUGE = "9" * 400
MISTAKES = {
    "YOLO class": (lambda f: yolo(f, "2 .5 .5 .1 .1"), ["1.txt, line 1", "2 is not the index of one of the 2 classes"]),
    "YOLO score": (lambda f: yolo(f, "0 .5 .5 .1 .1 .9"), ["1.txt, line 1", "class x y width height"]),
    "YOLO NaN": (lambda f: yolo(f, "0 .5 .5 .1 .1", "0 nan .5 .1 .1"), ["1.txt, line 2", "not finite"]),
    "YOLO huge": (lambda f: yolo(f, "0 1e308 .5 1e308 .1"), ["1.txt, line 1", "not finite"]),
    "YOLO outside": (lambda f: yolo(f, "0 .9 .5 .4 .1"), ["1.txt, line 1", "exceeds its image"]),
    "YOLO polygon outside": (lambda f: yolo(f, "0 .1 .1 .5 .5 -1e300 .5"), ["1.txt, line 1", "polygon exceeds"]),
    "YOLO two points": (lambda f: yolo(f, "0 .1 .1"), ["1.txt, line 1", "polygon of 1 points"]),
    "YOLO twice": (lambda f: yolo(f, "0 .5 .5 .1 .1", "1 .5 .5 .1 .1"), ["1.txt, line 2", "same box as", "line 1"]),
    "YOLO image": (lambda f: yolo(f, "0 .5 .5 .1 .1", name="cat/9"), ["cat/9.txt", "there is no such image"]),
    "YOLO names": (lambda f: yolo(f, "0 .5 .5 .1 .1", data="nc: 2"), ["data.yaml", "names:"]),
    "YOLO YAML": (lambda f: yolo(f, "0 .5 .5 .1 .1", data="names: [" * 5000), ["data.yaml", "names:"]),
    "YOLO word": (lambda f: yolo(f, "cat .5 .5 .1 .1"), ["line 1", "cat is not the index"]),
    "tasks NaN": (lambda f: tasks(f, rectangle(float("nan"), 1, 2, 3)), ["tasks.json, task 7", "not finite"]),
    "tasks text": (lambda f: tasks(f, rectangle("a", 1, 2, 3)), ["task 7, result 1", "in percent"]),
    "tasks huge": (lambda f: tasks(f, rectangle(int(HUGE), 1, 2, 3)), ["task 7, result 1", "in percent"]),
    "tasks outside": (lambda f: tasks(f, rectangle(90, 1, 20, 3)), ["task 7, result 1", "exceeds its image"]),
    "tasks negative": (lambda f: tasks(f, rectangle(90, 1, -20, 3)), ["task 7, result 1", "ends before it begins"]),
    "tasks size": (lambda f: tasks(f, rectangle(1, 1, 2, 3), size=(6, 4)), ["task 7, result 1", "6 x 4", "60 x 40"]),
    "tasks twice": (lambda f: [tasks(f, rectangle(1, 1, 20, 30)), twice(f)][1], ["task 7", "is also the image of"]),
    "tasks image": (lambda f: tasks(f, rectangle(1, 1, 20, 30), image="a\nb"), ["task 7", "a b: there is no such"]),
    "tasks MIN": (lambda f: text(f, "x.json", '[{"image": "a", "label": []}]'), ["task 1", "not as JSON-MIN"]),
    "brush": (
        lambda f: tasks(f, {"type": "brushlabels", "value": {"rle": [0, 0, 37, 128, 0, 0, 1]}}),
        ["task 7, result 1", "does not fill 60 x 40"],
    ),
    "JSON deep": (lambda f: text(f, "x.json", "[" * 200_000), ["x.json", "nested too deeply"]),
    "JSON none": (lambda f: text(f, "x.json", "{"), ["x.json", "is not JSON"]),
    "JSON bytes": (lambda f: (f / "x.json").write_bytes(b"\xff") and "x.json", ["x.json", "is not JSON"]),
    "JSON number": (lambda f: text(f, "x.json", "[" + "9" * 9999 + "]"), ["x.json", "JSON"]),
    "CVAT entities": (lambda f: cvat(f, BOX, before='<!DOCTYPE a [<!ENTITY b "c">]>'), ["cvat.xml", "entities"]),
    "CVAT size": (lambda f: cvat(f, BOX, size=(6, 4)), ["cvat.xml, image 1", "6 x 4", "60 x 40"]),
    "CVAT NaN": (lambda f: cvat(f, BOX.replace('"6"', '"nan"')), ["image 1", "element 1", "not finite"]),
    "CVAT huge": (lambda f: cvat(f, BOX.replace('"6"', '"-1e308"')), ["image 1", "element 1", "exceeds"]),
    "CVAT lacks": (lambda f: cvat(f, BOX.replace("xtl", "x")), ["element 1", "xtl, ytl, xbr, ybr"]),
    "CVAT twice": (lambda f: cvat(f, BOX, BOX), ["element 2", "same box as", "element 1"]),
    "CVAT polygon": (lambda f: cvat(f, '<polygon points="1,2;3"/>'), ["element 1", "x,y;x,y"]),
    "CVAT window": (lambda f: cvat(f, MASK.replace('left="10"', 'left="59"')), ["element 1", "mask exceeds"]),
    "CVAT video": (lambda f: text(f, "x.xml", "<annotations><track/></annotations>"), ["CVAT for video"]),
    "VOC as CVAT": (lambda f: text(f, "x.xml", "<annotation/>"), ["x.xml", "CVAT for images 1.1", "folder"]),
    "no XML": (lambda f: text(f, "x.xml", "<annotations>"), ["x.xml is not XML"]),
    "COCO huge": (lambda f: coco(f, [], box=(1, 1, int(HUGE), 1)), ["annotation 5", "bbox x, y, width, height"]),
    "COCO infinite": (lambda f: coco(f, [], box=(1e308, 1, 1e308, 1)), ["annotation 5", "not finite"]),
    "kind": (lambda f: text(f, "x.toml", ""), ["x.toml: unknown kind", "YOLO folder"]),
    "predictions": (lambda f: f"{coco(f, [])}:predictions", ["not a Label Studio file"]),
    "missing": (lambda f: "none.json", ["dataset.reader.boxes=none.json", "is missing"]),
}
MASK_MISTAKES = {
    "no outlines": (lambda f: cvat(f, BOX), ["dataset.reader.masks=cvat.xml", "no polygon and no mask"]),
    "COCO runs": (lambda f: coco(f, {"size": [40, 60], "counts": [5, 5]}), ["annotation 5", "do not fill 60 x 40"]),
    "COCO negative": (lambda f: coco(f, {"size": [40, 60], "counts": [2401, -1]}), ["annotation 5", "do not fill"]),
    "COCO short": (lambda f: coco(f, {"size": [40, 60], "counts": "0"}), ["annotation 5", "do not fill"]),
    "COCO endless": (lambda f: coco(f, {"size": [40, 60], "counts": "o" * 99}), ["annotation 5", "do not fill"]),
    "COCO size": (lambda f: coco(f, {"size": [4, 6], "counts": [24]}), ["annotation 5", "[4, 6]", "[40, 60]"]),
    "COCO odd": (lambda f: coco(f, [[1, 2, 3, 4, 5]]), ["annotation 5", "polygons"]),
    "COCO NaN": (lambda f: coco(f, [[1, 2, 3, 4, float("nan"), 6]]), ["annotation 5", "not finite"]),
    "COCO text": (lambda f: coco(f, "abc"), ["annotation 5", "neither polygons nor run lengths"]),
    "CVAT runs": (lambda f: cvat(f, MASK.replace("1, 2, 1", "1, 2")), ["element 1", "do not fill 2 x 2"]),
    "empty": (lambda f: cvat(f, MASK.replace("1, 2, 1", "4")), ["element 1", "encloses no pixel"]),
}


def message_of(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_boxes_get_one_line(folder, name):
    write, expected = MISTAKES[name]
    message = message_of(lambda: read(folder, boxes=write(folder)))
    for words in expected:
        assert words in message


@pytest.mark.parametrize("name", MASK_MISTAKES)
def test_mistakes_in_masks_get_one_line(folder, name):
    write, expected = MASK_MISTAKES[name]
    message = message_of(lambda: read(folder, masks=write(folder)))
    for words in expected:
        assert words in message


def test_entities_are_refused_in_every_encoding(folder):
    (folder / "x.xml").write_bytes('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>'.encode("utf-16"))
    assert "entities" in message_of(lambda: read(folder, boxes="x.xml"))


def test_a_photo_of_another_folder_is_not_taken_for_one_of_this(folder):
    assert "no such image" in message_of(lambda: read(folder, boxes=coco(folder, [], name=f"/holiday/{IMAGE}")))
    assert boxes_of(folder, coco(folder, [], name=f"/holiday/photos/{IMAGE}")) == [[6, 8, 30, 20]]
