"""Annotation files: the formats' own packages read what was written, and so does `dataset=folder`."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from spg_lightning.data import read_folder
from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.errors import UserError
from spg_lightning.localization.polygons import polygons_of_mask
from spg_lightning.predicting.rows import ImageRow
from spg_lightning.predicting.writers.coco_writer import CocoWriter
from spg_lightning.predicting.writers.cvat_writer import CvatWriter
from spg_lightning.predicting.writers.label_studio_writer import LabelStudioWriter
from spg_lightning.predicting.writers.voc_writer import VocWriter
from spg_lightning.predicting.writers.yolo_writer import YoloWriter
from tests.predicting.annotated import CLASSES, SIZE, iou, write_predicted

LABEL_STUDIO = LabelStudioWriter("/data/local-files/?d=", "/", "a")
# name -> the writer, and what dataset=folder reads as boxes and as masks
FORMATS = {
    "coco": (CocoWriter(), "coco.json", "coco.json"),
    "yolo": (YoloWriter("link"), "yolo", "yolo"),
    "voc": (VocWriter(), "voc/Annotations", None),
    "label_studio": (LABEL_STUDIO, "label_studio/tasks.json:predictions", "label_studio/tasks.json:predictions"),
    "cvat": (CvatWriter(), "cvat.xml", "cvat.xml"),
}


@pytest.fixture(params=[False, True], ids=["boxes", "masks"])
def predicted(request, tmp_path, monkeypatch):
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return write_predicted(tmp_path / "photos", masks=request.param)


def read(root, boxes, masks=None):
    splits = read_folder(str(root), None, "auto", {}, 0, boxes, True, masks)
    return [splits.train, splits.test]


def with_polygons(predicted):
    """The same rows, with the masks' polygons."""
    rows = []
    for row in predicted.rows:
        objects = [o if o.mask is None else replace(o, polygons=polygons_of_mask(o.pixels())) for o in row.objects]
        rows.append(replace(row, objects=tuple(objects)))
    return rows


@pytest.mark.parametrize("polygons", [False, True], ids=["", "polygons"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_reads_back_what_was_written(predicted, tmp_path, name, polygons):
    writer, boxes, masks = FORMATS[name]
    out = tmp_path / "out"
    writer.write(out, with_polygons(predicted) if polygons else predicted.rows, CLASSES)
    has_masks = bool(predicted.masks)
    for records in read(predicted.root, f"{out}/{boxes}", f"{out}/{masks}" if masks and has_masks else None):
        for i, image in enumerate(records.images):
            found, expected = records.boxes_of(i), np.reshape(predicted.boxes[image], (-1, 4))
            assert found.shape == expected.shape, image
            # YOLO's rows of polygons have no boxes: those of the masks are one or two pixels smaller
            assert len(found) == 0 or np.abs(found - expected).max() <= (3 if name == "yolo" and has_masks else 1.0)
            if image in predicted.masks and masks:
                mask = read_ternary_mask(records, i, None) > 0
                assert iou(mask, predicted.masks[image]) >= (0.97 if polygons or name != "coco" else 1)
                if name == "cvat" and not polygons:
                    assert np.array_equal(mask, predicted.masks[image])
            elif records.masks and name != "yolo":
                assert (read_ternary_mask(records, i, None) == -1).all()


def test_predictions_in_the_results_are_as_they_were(predicted, tmp_path):
    CocoWriter().write(tmp_path, predicted.rows, CLASSES)
    images = [row.image for row in predicted.rows if not row.error]
    assert (tmp_path / "coco_images.json").read_text() == (
        json.dumps([{"id": k + 1, "file_name": image} for k, image in enumerate(images)], indent=2) + "\n"
    )
    text = (tmp_path / "coco_results.json").read_text()
    results = json.loads(text)
    assert text == json.dumps(results, indent=2) + "\n"
    objects = [(images.index(row.image) + 1, o) for row in predicted.rows for o in row.objects]
    assert len(results) == len(objects) > 32  # also where nothing was found
    for result, (image_id, found) in zip(results, objects, strict=True):
        x0, y0, x1, y1 = found.box
        box = [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)]
        expected = {"image_id": image_id, "category_id": found.class_index + 1, "bbox": box, "score": found.score}
        assert result == expected | ({"segmentation": found.mask} if found.mask else {})


def test_pycocotools_loads_and_scores_the_coco_files(predicted, tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    for rows in (predicted.rows, with_polygons(predicted)):
        CocoWriter().write(tmp_path, rows, CLASSES)
        truth = COCO(str(tmp_path / "coco.json"))
        assert len(truth.imgs) == 32
        assert [category["name"] for category in truth.loadCats([1, 2, 3])] == CLASSES
        shown = truth.loadRes(str(tmp_path / "coco_results.json"))
        for kind in ("bbox", "segm") if predicted.masks else ("bbox",):
            # results also hold what the data set leaves out: images on which nothing was found
            keep = sorted({annotation["image_id"] for annotation in truth.anns.values()})
            if kind == "segm":  # of those without masks, results have their boxes as segments
                keep = [image["id"] for image in truth.imgs.values() if _below(image, predicted) in predicted.masks]
            evaluation = COCOeval(truth, shown, kind)
            evaluation.params.imgIds = keep
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            assert evaluation.stats[0] == pytest.approx(1)
        truth = COCO(str(tmp_path / "coco.json"))  # the evaluation changed its segmentations
        for annotation in truth.anns.values():
            image = truth.imgs[annotation["image_id"]]
            if (below := _below(image, predicted)) in predicted.masks:
                assert annotation["area"] == predicted.masks[below].sum()
                drawn = truth.annToMask(annotation).astype(bool)
                assert iou(drawn, predicted.masks[below]) >= (
                    1 if isinstance(annotation["segmentation"], dict) else 0.97
                )


def _below(image, predicted):
    return Path(image["file_name"]).relative_to(predicted.root).as_posix()


@pytest.mark.parametrize("images", ["link", "copy", "none"])
def test_yolo_places_images_beside_labels(predicted, tmp_path, images):
    YoloWriter(images).write(tmp_path, predicted.rows, CLASSES)
    labels = sorted((tmp_path / "yolo/labels").rglob("*.txt"))
    assert len(labels) == 32
    sources = json.loads((tmp_path / "yolo/sources.json").read_text())
    assert {*sources.values()} == {row.image for row in predicted.rows if not row.error}
    found = [p for p in (tmp_path / "yolo/images").rglob("*") if p.is_file()]
    assert len(found) == (0 if images == "none" else 32)
    for path in found:
        name = path.relative_to(tmp_path / "yolo/images").with_suffix("").as_posix()
        assert (tmp_path / "yolo/labels" / f"{name}.txt").is_file()
        assert path.is_symlink() == (images == "link")
        assert path.read_bytes() == Path(sources[name]).read_bytes()
    YoloWriter(images).write(tmp_path, predicted.rows, CLASSES)  # once more, over the first


def test_yolo_refuses_another_way_to_place_images():
    with pytest.raises(UserError, match=r"writer\.yolo\.images=move: choose link, copy, none"):
        YoloWriter("move")


def test_images_whose_names_collide_keep_their_labels(tmp_path):
    predicted = write_predicted(tmp_path / "photos", masks=False)
    row = predicted.rows[0]
    twin = Path(row.image).with_suffix(".png")
    Image.open(row.image).save(twin)
    other = replace(row.objects[0], image=str(twin), box=(0.0, 0.0, 16.0, 12.0))
    YoloWriter("link").write(tmp_path, [row, ImageRow(str(twin), (other,))], CLASSES)
    labels = [path.read_text().split() for path in sorted((tmp_path / "yolo/labels").rglob("*.txt"))]
    assert labels[1] == ["0", "0.050000", "0.050000", "0.100000", "0.100000"]
    assert len(labels) == 2
    train, _ = read(predicted.root, str(tmp_path / "yolo"))
    assert train.boxes_of(list(train.images).index("train/cat/plain.png")).tolist() == [pytest.approx([0, 0, 16, 12])]


def test_ultralytics_accepts_the_labels(predicted, tmp_path):
    pytest.importorskip("ultralytics")
    from ultralytics.data.utils import img2label_paths, verify_image_label

    YoloWriter("link").write(tmp_path, predicted.rows, CLASSES)
    content = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text())
    assert list(content["names"].values()) == CLASSES
    sources = json.loads((tmp_path / "yolo/sources.json").read_text())
    images = [str(path) for path in sorted((tmp_path / "yolo/images").rglob("*")) if path.is_file()]
    boxes = 0
    for image, label in zip(images, img2label_paths(images), strict=True):
        _, rows, shape, segments, _, missing, _, _, corrupt, message = verify_image_label(
            (image, label, "", False, len(CLASSES), 0, 0, False)
        )
        assert not missing
        assert not corrupt, message
        name = Path(label).relative_to(tmp_path / "yolo/labels").with_suffix("").as_posix()
        below = Path(sources[name]).relative_to(predicted.root).as_posix()
        assert len(rows) == len(predicted.boxes[below])
        for (_, x, y, width, height), (x0, y0, x1, y1) in zip(rows, predicted.boxes[below], strict=True):
            found = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * (SIZE * 2)
            assert np.abs(found - [x0, y0, x1, y1]).max() <= (3 if predicted.masks else 0.01)
            boxes += 1
        assert len(segments) == (len(rows) if predicted.masks else 0)
        assert shape == SIZE[::-1]
    assert boxes == 28


def flat(predicted, tmp_path):
    """Images of one folder, as supervision wants them, and the rows of these."""
    rows = [row for row in predicted.rows if "/train/cat/" in row.image and not row.error]
    return rows, {Path(row.image).relative_to(predicted.root).as_posix() for row in rows}


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_supervision_reads_the_same(predicted, tmp_path, kind):
    sv = pytest.importorskip("supervision")
    rows, _ = flat(predicted, tmp_path)
    YoloWriter("link").write(tmp_path, rows, CLASSES)
    VocWriter().write(tmp_path, rows, CLASSES)
    images = str(tmp_path / "yolo/images")
    sources = json.loads((tmp_path / "yolo/sources.json").read_text())
    if kind == "yolo":
        loaded = sv.DetectionDataset.from_yolo(images, f"{tmp_path}/yolo/labels", f"{tmp_path}/yolo/data.yaml")
    else:
        loaded = sv.DetectionDataset.from_pascal_voc(images, f"{tmp_path}/voc/Annotations")
    assert len(loaded) == 8
    for path, _, found in loaded:
        below = Path(sources[Path(path).stem]).relative_to(predicted.root).as_posix()
        expected = np.reshape(predicted.boxes[below], (-1, 4))
        assert found.xyxy.shape == expected.shape
        if kind == "voc":  # whole pixels, the touched ones
            expected = np.concatenate([np.floor(expected[:, :2]), np.ceil(expected[:, 2:])], axis=1)
            assert np.array_equal(found.xyxy, expected)
        elif not predicted.masks:
            assert np.abs(found.xyxy - expected).max(initial=0) < 0.01
        elif (
            below in predicted.masks
        ):  # supervision draws with OpenCV, which adds the pixels on the far side of an outline
            assert iou(found.mask[0], predicted.masks[below]) >= 0.85


def test_voc_pictures_hold_class_and_object(tmp_path):
    predicted = write_predicted(tmp_path / "photos", masks=True)
    VocWriter().write(tmp_path, predicted.rows, CLASSES)
    for name in ("Annotations", "SegmentationClass", "SegmentationObject"):
        assert len([p for p in (tmp_path / "voc" / name).rglob("*") if p.is_file()]) == 32
    picture = Image.open(tmp_path / "voc/SegmentationClass/train/dog/plain.png")
    assert picture.mode == "P"
    assert picture.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]  # VOC's first colours
    mask = predicted.masks["train/dog/plain.jpg"]
    assert np.array_equal(np.asarray(picture), np.where(mask, 2, 0))
    root = ElementTree.parse(tmp_path / "voc/Annotations/train/dog/plain.xml").getroot()
    assert root.findtext("object/name") == CLASSES[1]
    assert root.findtext("filename") == "plain.jpg"


def test_label_studio_accepts_tasks_and_interface(predicted, tmp_path):
    pytest.importorskip("label_studio_sdk")
    from label_studio_sdk.label_interface import LabelInterface

    LABEL_STUDIO.write(tmp_path, predicted.rows, CLASSES)
    interface = LabelInterface((tmp_path / "label_studio/label_config.xml").read_text())
    interface.validate()
    tasks = json.loads((tmp_path / "label_studio/tasks.json").read_text())
    assert len(tasks) == 32
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction)
    spoilt = tasks[0]["predictions"][0]
    spoilt["result"][0]["value"]["rectanglelabels"] = ["no such class"]
    assert not interface.validate_prediction(spoilt)


def test_label_studio_addresses_are_below_the_document_root(tmp_path):
    predicted = write_predicted(tmp_path / "photos", masks=False)
    LabelStudioWriter("https://x/?d=", str(tmp_path), "b").write(tmp_path, predicted.rows[:3], CLASSES)
    addresses = [task["data"]["image"] for task in json.loads((tmp_path / "label_studio/tasks.json").read_text())]
    assert addresses[0] == "https://x/?d=photos/train/cat/plain.jpg"
    assert addresses[2] == "https://x/?d=photos/train/cat/two%0Alines.jpg"


def test_datumaro_reads_the_cvat_file(predicted, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    CvatWriter().write(tmp_path / "cvat", predicted.rows, CLASSES)
    (tmp_path / "cvat/images").symlink_to(predicted.root)
    boxes = masks = 0
    for item in datumaro.Dataset.import_from(str(tmp_path / "cvat"), "cvat"):
        below = next(name for name in predicted.boxes if name.rpartition(".")[0] == item.id)
        for found in item.annotations:
            if found.type == datumaro.AnnotationType.bbox:
                x, y, width, height = found.get_bbox()
                assert np.abs(np.array([x, y, x + width, y + height]) - predicted.boxes[below][0]).max() < 0.02
                boxes += 1
            if found.type == datumaro.AnnotationType.mask:
                assert np.array_equal(found.image.astype(bool), predicted.masks[below])
                masks += 1
    assert boxes == 28
    assert masks == (len(predicted.masks) and 24)


def test_rows_are_streamed_and_files_whole(tmp_path):
    """A writer that fails leaves nothing half-written."""
    predicted = write_predicted(tmp_path / "photos", masks=False)

    class Failing:
        def __iter__(self):
            yield from predicted.rows[:3]
            raise OSError("disk")

    for writer, _, _ in FORMATS.values():
        out = tmp_path / "out" / type(writer).__name__
        with pytest.raises(OSError, match="disk"):
            writer.write(out, Failing(), CLASSES)
        left = [path for path in out.rglob("*") if path.suffix in (".json", ".xml", ".tmp", ".yaml")]
        assert all(path.name == "coco_images.json" or "Annotations" in path.parts for path in left), left


@pytest.mark.parametrize("name", FORMATS)
def test_a_prediction_without_any_object_has_valid_files(tmp_path, name):
    predicted = write_predicted(tmp_path / "photos", masks=False)
    rows = [ImageRow(row.image) for row in predicted.rows if not row.error]
    writer, boxes, _ = FORMATS[name]
    writer.write(tmp_path, rows, CLASSES)
    train, _ = read(predicted.root, f"{tmp_path}/{boxes}")
    assert len(train.boxes) == 0
    writer.write(tmp_path, [], CLASSES)
