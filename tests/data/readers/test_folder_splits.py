"""Images with boxes choose and measure; everything else stays as it was without boxes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from spg_lightning.data import read_folder
from spg_lightning.data.readers.folder_splits import draw_splits
from spg_lightning.data.records import stratified_holdout
from tests.trees import write_folder

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
CLASSES = {f"{name}/{i}.jpg": name for name in ("cat", "dog") for i in range(100)}


def counted(boxed, fractions=FRACTIONS, seed=0):
    """Return the splits, and how many images with boxes each of them has."""
    splits = draw_splits(CLASSES, list(CLASSES), fractions, seed, boxed)
    return splits, Counter(splits[image] for image in boxed)


def some(count, of=("cat", "dog")):
    return {f"{name}/{i}.jpg" for name in of for i in range(count)}


def test_few_boxes_all_go_to_val():
    splits, boxed = counted(some(6))
    assert boxed == {"val": 12}
    assert Counter(splits.values()) == {"train": 140, "val": 20, "test": 40}  # as without boxes


def test_val_gets_twenty_first_then_test():
    splits, boxed = counted(some(20))
    assert boxed == {"val": 20, "test": 20}
    assert Counter(splits.values()) == {"train": 140, "val": 20, "test": 40}
    assert Counter((CLASSES[image], splits[image]) for image in some(20)) == {
        (name, split): 10 for name in ("cat", "dog") for split in ("val", "test")
    }


def test_val_gets_twenty_even_if_its_fraction_is_smaller():
    splits, boxed = counted(some(20), {"train": 0.78, "val": 0.02, "test": 0.2})
    assert boxed == {"val": 20, "test": 20}
    assert Counter(splits.values())["val"] == 20


def test_at_most_half_of_a_class_goes_to_val():
    classes = {f"{name}/{i}.jpg": name for name in ("cat", "dog") for i in range(8)}
    boxed = {image for image in classes if image != "cat/0.jpg"}
    splits = draw_splits(classes, list(classes), FRACTIONS, 0, boxed)
    assert Counter(splits.values()) == {"val": 8, "test": 4, "train": 4}


def test_boxes_of_one_class_alone_leave_the_other_as_it_was():
    plain, _ = counted(set())
    splits, boxed = counted(some(30, of=("dog",)))
    assert boxed == {"val": 20, "test": 10}
    assert all(splits[image] == plain[image] for image in CLASSES if CLASSES[image] == "cat")


def test_without_any_box_or_with_all_of_them_nothing_changes():
    plain, _ = counted(set())
    every, boxed = counted({*CLASSES})
    assert plain == every
    assert boxed == {"train": 140, "val": 20, "test": 40}


def test_the_same_seed_gives_the_same_splits_in_any_order():
    boxed = some(20)
    one = draw_splits(CLASSES, list(CLASSES), FRACTIONS, 3, boxed)
    assert draw_splits(dict(reversed(CLASSES.items())), list(CLASSES)[::-1], FRACTIONS, 3, boxed) == one
    assert draw_splits(CLASSES, list(CLASSES), FRACTIONS, 4, boxed) != one


def test_without_a_fraction_for_val_boxes_stay_to_be_held_out():
    _, boxed = counted(some(20), {"train": 0.8, "test": 0.2})
    assert boxed == {"train": 20, "test": 20}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos", per_class=20)


def read(folder, boxes=None):
    return read_folder(str(folder), None, "auto", FRACTIONS, 0, boxes, True, None)


def test_corrected_photos_of_train_are_held_out_first(folder):
    boxed = [f"train/{name}/{i}.jpg" for name in ("cat", "dog", "emu") for i in range(3)]
    (folder / "boxes.csv").write_text("".join(f"{image},1,2,30,20\n" for image in boxed))
    records = read(folder, "boxes.csv").train
    _, held = stratified_holdout(records, 0.2, seed=0)
    images = [records.images[i] for i in held]
    assert {*boxed} <= {*images}
    assert len(images) == 12  # the share, as without boxes
    assert np.array_equal(stratified_holdout(records, 0.2, seed=0)[1], held)
    _, few = stratified_holdout(records, 0.01, seed=0)
    assert sorted(records.images[i] for i in few) == boxed


def test_the_hold_out_is_the_same_without_boxes_and_with_all_of_them(folder):
    records = read(folder).train
    boxed = replace(records, boxes=np.ones((len(records), 4)), box_offsets=np.arange(len(records) + 1))
    for seed in range(3):
        assert np.array_equal(stratified_holdout(records, 0.2, seed)[1], stratified_holdout(boxed, 0.2, seed)[1])


def test_a_single_folder_train_is_split_by_fractions(tmp_path):
    folder = write_folder(tmp_path / "photos", parts=("train",), per_class=10)
    splits = read(folder)
    assert [len(records) for records in (splits.train, splits.val, splits.test)] == [21, 3, 6]
    assert splits.train.class_names == ("cat", "dog", "emu")
    assert splits.train.images[0].startswith("train/cat/")


def test_annotations_beside_the_classes_are_no_class(tmp_path):
    folder = write_folder(tmp_path / "photos", parts=("",), per_class=10)
    (folder / "labels/cat").mkdir(parents=True)
    (folder / "labels/cat/0.png").write_bytes((folder / "cat/0.jpg").read_bytes())
    splits = read_folder(str(folder), None, "auto", FRACTIONS, 0, None, True, "labels")
    assert splits.train.class_names == ("cat", "dog", "emu")
    assert [name for part in (splits.train, splits.val, splits.test) for row in part.masks for name in row] == [
        "labels/cat/0.png"
    ]
