"""Every layout passes through prepare, two training steps and evaluate; what is wrong with the files is told by prepare."""

import json

import numpy as np
import pytest

from spg_lightning import compose, evaluate, prepare, train
from spg_lightning.data import read_cub, read_cub_and_val
from tests.conftest import SHARED, TINY
from tests.trees import coco, write_benchmark, write_cub, write_folder, write_ilsvrc, write_metadata

SETTINGS = [word for word in TINY if word != "dataset=cub"]


def cub(folder):
    root = write_cub(folder / "cub")
    write_metadata(folder / "v2", folder / "photos", "val", 3, 2)
    more = [f"dataset.reader.val_metadata={folder / 'v2'}", f"dataset.reader.val_root={folder / 'photos'}"]
    return ["dataset=cub", f"dataset.root={root}", *more]


def ilsvrc(folder):
    root = write_ilsvrc(folder / "ilsvrc")
    write_metadata(folder / "v2", folder / "photos", "val", 3, 2)
    more = [f"dataset.reader.val_metadata={folder / 'v2'}", f"dataset.reader.val_root={folder / 'photos'}"]
    return ["dataset=ilsvrc", f"dataset.root={root}", *more]


LAYOUTS = {
    "cub with CUBV2": (cub, "gt_known_error"),
    "ilsvrc with ImageNetV2": (ilsvrc, "gt_known_error"),
    "ilsvrc alone": (lambda f: ["dataset=ilsvrc", f"dataset.root={write_ilsvrc(f, lists=False)}"], "gt_known_error"),
    "benchmark": (lambda f: ["dataset=benchmark", f"dataset.root={write_benchmark(f)}"], "gt_known_error"),
    "openimages": (lambda f: ["dataset=openimages", f"dataset.root={write_benchmark(f, masks=True)}"], "pxap"),
    "folder, VOC": (
        lambda f: ["dataset=folder", f"dataset.root={write_folder(f, 'voc')}", "dataset.reader.boxes=boxes"],
        "gt_known_error",
    ),
    "folder, no boxes": (lambda f: ["dataset=folder", f"dataset.root={write_folder(f)}"], None),
}


def dataset(words):
    return [word for word in words if word.startswith("dataset")]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_prepared_trained_on_and_evaluated(tmp_path, name, caplog):
    write, number = LAYOUTS[name]
    words = write(tmp_path / "data")
    prepared = prepare(compose("prepare", [*dataset(words), f"output_dir={tmp_path / 'p'}"]))
    assert prepared.index.is_dir()
    assert not prepared.findings
    run = ["trainer.max_epochs=1", "gallery_images=1", "report_images=1"]
    result = train(compose("train", [*SETTINGS, *words, *run, f"output_dir={tmp_path / 'run'}"]))
    assert result.metrics["test/num_images"] == len(prepared.splits.test)
    overrides = [f"checkpoint={result.checkpoint}", "num_workers=0", "num_thresholds=50", "accelerator=cpu"]
    again = evaluate(compose("evaluate", [*overrides, "gallery_images=0", f"output_dir={tmp_path / 'again'}"]))
    assert again.metrics == pytest.approx(result.metrics)
    measured = {key.removeprefix("test/") for key in result.metrics}
    boxes, masks = {"gt_known_error", "max_box_acc_v2", "floor_whole_gt_known_error"}, {"pxap"}
    if number == "gt_known_error":
        assert boxes <= measured
    else:
        assert not boxes & measured
        assert (masks <= measured) == (number == "pxap")
        assert ("localization is not measured" in caplog.text) == (number is None)
    assert "cls_top1_error" in measured
    assert "NaN" not in (tmp_path / "run" / "metrics.json").read_text()
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def same(one, other):
    assert one.class_names == other.class_names
    order = {image: i for i, image in enumerate(one.images)}
    index = np.array([order[image] for image in other.images])
    for column in ("labels", "sizes"):
        assert np.array_equal(getattr(one, column)[index], getattr(other, column))
    assert np.allclose(one.take(index).boxes, other.boxes, atol=1e-9)
    assert len(one) == len(other)


@pytest.mark.shared
def test_real_photos_as_a_folder_with_coco_boxes_give_the_same_numbers(tmp_path):
    source = SHARED / "data" / "CUB_20"
    if not source.is_dir():
        pytest.skip("CUB_20 is not there")
    splits = read_cub(str(source))
    listing, found = [], {}
    few = {"train": [], "test": []}
    for part, records in (("train", splits.train), ("test", splits.test)):
        taken = {}
        for i, image in enumerate(records.images):
            listing.append(f"{image},{records.class_names[records.labels[i]]},{part}\n")
            found[image] = tuple(records.boxes_of(i)[0].tolist())
            if records.labels[i] < 3 and taken.setdefault(int(records.labels[i]), 0) < 4:
                taken[int(records.labels[i])] += 1
                few[part].append(image)
    root = tmp_path / "photos"
    root.mkdir()
    for folder in (source / "images").iterdir():
        (root / folder.name).symlink_to(folder)
    (root / "labels.csv").write_text("".join(listing))
    (root / "boxes.json").write_text(json.dumps(coco(found)))
    from spg_lightning.data import read_folder

    mine = read_folder(str(root), "labels.csv", "column", {}, 0, "boxes.json", apply_exif_orientation=False, masks=None)
    same(splits.train, mine.train)
    same(splits.test, mine.test)

    # the same few photos in both layouts, in the same order: the very same numbers
    small = tmp_path / "cub"
    small.mkdir()
    (small / "images").symlink_to(root)
    chosen = [(image, part) for part in few for image in few[part]]
    labels = {line.split(",")[0]: line.split(",")[1] for line in listing}
    names = sorted({labels[image] for image, _ in chosen})
    lists = {
        "images": [f"{i} {image}" for i, (image, _) in enumerate(chosen)],
        "image_class_labels": [f"{i} {names.index(labels[image])}" for i, (image, _) in enumerate(chosen)],
        "classes": [f"{i} {name}" for i, name in enumerate(names)],
        "train_test_split": [f"{i} {int(part == 'train')}" for i, (_, part) in enumerate(chosen)],
        "bounding_boxes": [
            f"{i} {x0!r} {y0!r} {x1 - x0!r} {y1 - y0!r}"
            for i, (x0, y0, x1, y1) in enumerate(found[image] for image, _ in chosen)
        ],
    }
    for name, lines in lists.items():
        (small / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / "labels.csv").write_text("".join(f"{image},{labels[image]},{part}\n" for image, part in chosen))
    (root / "boxes.json").write_text(json.dumps(coco({image: found[image] for image, _ in chosen})))
    run = ["trainer.max_steps=2", "trainer.max_epochs=5", "gallery_images=0", "report_images=0"]
    as_folder = [f"dataset.root={root}", "dataset.reader.labels=labels.csv", "dataset.reader.boxes=boxes.json"]
    numbers = [
        train(compose("train", [*SETTINGS, *words, *run, f"output_dir={tmp_path / words[0][8:]}"])).metrics
        for words in (["dataset=cub", f"dataset.root={small}"], ["dataset=folder", *as_folder])
    ]
    assert numbers[0] == numbers[1]


@pytest.mark.shared
@pytest.mark.slow
def test_all_of_cub_20_through_everything_and_as_a_folder_with_coco_boxes(tmp_path, monkeypatch):
    """Prepare, two training steps, evaluate, in both layouts: every number is the same."""
    source = SHARED / "data" / "CUB_20"
    if not source.is_dir():
        pytest.skip("CUB_20 is not there")
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    cub_root, folder_root = (
        tmp_path / "cub",
        tmp_path / "photos",
    )  # links: nothing is written beside the reference photos
    for root in (cub_root, folder_root):
        root.mkdir()
    for path in source.iterdir():
        (cub_root / path.name).symlink_to(path)
    for path in (source / "images").iterdir():
        (folder_root / path.name).symlink_to(path)
    splits = read_cub(str(source))
    rows, found = [], {}
    for part, records in (("train", splits.train), ("test", splits.test)):
        for i, image in enumerate(records.images):
            rows.append(f"{image},{records.class_names[records.labels[i]]},{part}\n")
            found[image] = tuple(records.boxes_of(i)[0].tolist())
    (folder_root / "labels.csv").write_text("".join(rows))
    (folder_root / "boxes.json").write_text(json.dumps(coco(found)))
    of_folder = [
        "dataset.reader.labels=labels.csv",
        "dataset.reader.boxes=boxes.json",
        "dataset.reader.apply_exif_orientation=false",
    ]
    layouts = {
        "cub": ["dataset=cub", f"dataset.root={cub_root}"],
        "folder": ["dataset=folder", f"dataset.root={folder_root}", *of_folder],
    }
    run = ["trainer.max_steps=2", "trainer.max_epochs=5", "gallery_images=0", "report_images=1"]
    numbers = {}
    for name, words in layouts.items():
        prepared = prepare(compose("prepare", [*words, "num_workers=2", f"output_dir={tmp_path / 'p'}"]))
        assert not prepared.findings
        assert len(prepared.splits.train) + len(prepared.splits.test) == len(found) == 1132
        result = train(compose("train", [*SETTINGS, *words, *run, f"output_dir={tmp_path / name}"]))
        overrides = [f"checkpoint={result.checkpoint}", "num_workers=0", "num_thresholds=50", "accelerator=cpu"]
        more = ["gallery_images=0", "report_images=1", f"output_dir={tmp_path / 'again'}"]
        again = evaluate(compose("evaluate", [*overrides, *more]))
        assert again.metrics == pytest.approx(result.metrics)
        numbers[name] = result.metrics
    assert numbers["cub"]["test/num_images"] == len(splits.test)
    assert numbers["cub"] == numbers["folder"]


def test_prepare_says_what_is_wrong_and_leaves_it_out_if_asked(cli, tmp_path):
    root = write_folder(tmp_path / "photos", "csv")
    (root / "train/cat/0.jpg").write_bytes(b"")
    photo = root / "test/dog/1.jpg"
    photo.write_bytes(photo.read_bytes()[:-200])
    boxes = root / "boxes.csv"
    lines = boxes.read_text().splitlines()
    lines[5] = "train/dog/0.jpg,10,10,5,20"
    boxes.write_text("\n".join(lines) + "\n")
    words = ["dataset=folder", f"dataset.root={root}", "dataset.reader.boxes=boxes.csv"]
    outcome = cli("prepare", *words)
    assert outcome.code == 1
    for text in (
        "cat/0.jpg is not a readable image",
        "dog/1.jpg is broken",
        "boxes.csv, line 6: the box 10, 10, 5, 20 ends",
    ):
        assert text in outcome.err
    assert "3 findings" in outcome.line
    assert "quarantine=true" in outcome.line
    outcome = cli("prepare", *words, "quarantine=true")
    assert outcome.code == 0, outcome.err
    assert "12 test images" not in outcome.err
    prepared = prepare(compose("prepare", [*words, f"output_dir={tmp_path}"]))
    assert set(prepared.quarantine) == {"train/cat/0.jpg", "test/dog/1.jpg", "train/dog/0.jpg"}
    assert (len(prepared.splits.train), len(prepared.splits.test)) == (10, 11)


def test_one_finding_is_one_finding(cli, tmp_path):
    root = write_folder(tmp_path / "photos")
    (root / "train/cat/0.jpg").write_bytes(b"")
    words = ["dataset=folder", f"dataset.root={root}"]
    assert "1 finding, listed above" in cli("prepare", *words).line
    done = cli("prepare", *words, "quarantine=true")
    assert "1 image in quarantine" in done.out + done.err


@pytest.mark.parametrize("shards", ["false", "true"])
def test_a_full_disk_while_preparing_is_one_line_and_leaves_nothing_that_is_used(cli, tmp_path, monkeypatch, shards):
    import errno
    import os

    root = write_cub(tmp_path / "cub")
    words = ["dataset=cub", f"dataset.root={root}", f"shards={shards}"]

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    if shards == "true":
        assert cli("prepare", *words[:2]).code == 0  # the index is whole, what fails are the shards
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        if shards == "true":
            patch.setattr("spg_lightning.data.index.cached_reader.write_index", lambda *_: None)
        outcome = cli("prepare", *words)
    assert outcome.code == 1
    assert "No space left on device" in outcome.line
    assert {path.name[:6] for path in (root / ".spg_lightning").iterdir()} == (
        {"index-"} if shards == "true" else set()
    )
    assert (read_cub_and_val(str(root), None, None).train.origin is None) == (shards == "false")


def test_prepare_extracts_an_archive_and_compares_with_what_is_published(cli, tmp_path):
    import tarfile

    write_cub(tmp_path / "CUB_200_2011")
    with tarfile.open(tmp_path / "cub.tgz", "w:gz") as archive:
        archive.add(tmp_path / "CUB_200_2011", "CUB_200_2011")
    root = tmp_path / "data" / "CUB_200_2011"
    words = ["dataset=cub", f"dataset.root={root}", f"archive={tmp_path / 'cub.tgz'}"]
    outcome = cli("prepare", *words)
    assert outcome.code == 0, outcome.err
    assert "12 train photos, published are 5994" in outcome.err
    assert "12 train, 12 test images of 3 classes" in outcome.err
    assert cli("prepare", *words).code == 0  # a killed one may have come so far
    (root / "images.txt").write_text("1 other.jpg\n")
    assert "is there already" in cli("prepare", *words).line


def test_prepare_without_data_says_where_to_get_them(cli):
    line = cli("prepare", "dataset=ilsvrc").line
    for words in ("dataset.root=data/ILSVRC", "Get it from", "160 GB", "non-commercial"):
        assert words in line
