"""ILSVRC, the benchmark's lists and CUBV2: what is read, and the one line for each mistake."""

import os

import numpy as np
import pytest

from spg_lightning.data import ImageDataset, read_benchmark_parts, read_cub_and_val, read_ilsvrc
from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.data.transforms import test_transform as whole_photo
from spg_lightning.errors import UserError
from tests.trees import replace_line, write_benchmark, write_cub, write_ilsvrc, write_metadata, write_voc

VAL = "Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"


@pytest.mark.parametrize("lists", [True, False])
def test_ilsvrc(tmp_path, lists):
    splits = read_ilsvrc(str(write_ilsvrc(tmp_path, lists=lists)), None, None)
    assert splits.val is None
    assert np.bincount(splits.train.labels).tolist() == [6, 6, 6]
    assert np.bincount(splits.test.labels).tolist() == [3, 3, 3]
    assert splits.train.class_names[1] == "n00000001 thing 1"
    assert np.diff(splits.train.box_offsets).tolist() == [0, 1, 1] * 6
    assert splits.test.boxes_of(0)[1].tolist() == [0, 0, 60, 9]  # clipped: official boxes stick out
    assert ImageDataset(splits.test, whole_photo(32), "error", with_masks=True)[0]["boxes"].shape == (2, 4)


def test_ilsvrc_as_kaggle_packs_it_with_imagenetv2(tmp_path):
    home = write_ilsvrc(tmp_path / "root" / "ILSVRC")
    (home / "LOC_synset_mapping.txt").rename(tmp_path / "root" / "LOC_synset_mapping.txt")
    lists = write_metadata(tmp_path / "v2", tmp_path / "photos", "val", 3, 2)
    splits = read_ilsvrc(str(tmp_path / "root"), str(lists), str(tmp_path / "photos"))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (18, 6, 9)
    assert splits.val.class_names == splits.train.class_names
    assert len(splits.train.boxes) == 0  # nobody needs them


def misname(path):
    os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/\xe9.JPEG")  # noqa: PTH104


ILSVRC = {
    "no XML": (lambda f: (f / VAL).unlink(), ["no .xml for ILSVRC2012_val_00000002.JPEG"]),
    "unknown class": (
        lambda f: write_voc(f / VAL, "x", "n77", [(1, 1, 5, 5)]),
        ["val_00000002.xml", "'n77' is not known"],
    ),
    "reversed box": (
        lambda f: write_voc(f / VAL, "x", "n00000000", [(9, 1, 5, 5)]),
        ["val_00000002.xml", "ends before"],
    ),
    "mapping": (
        lambda f: replace_line(f / "LOC_synset_mapping.txt", "n00000001", "n00000000 again"),
        ["LOC_synset_mapping.txt, line 2", "twice"],
    ),
    "empty class": (
        lambda f: replace_line(f / "LOC_synset_mapping.txt", "n00000001", "n00000001 thing\nn00000009 more"),
        ["the class n00000009 has no training image"],
    ),
    "outside": (
        lambda f: replace_line(f / "ImageSets/CLS-LOC/val.txt", "ILSVRC2012_val_00000003", "../../x 3"),
        ["val.txt, line 3", "refused"],
    ),
    "name not UTF-8": (
        lambda f: (
            (f / "ImageSets/CLS-LOC/train_cls.txt").unlink(),
            misname(f / "Data/CLS-LOC/train/n00000000/n00000000_0.JPEG"),
        ),
        ["n00000000/\\udce9.JPEG", "not UTF-8", "rename"],
    ),
    "missing": (lambda f: (f / "Data/CLS-LOC/val").rename(f / "vals"), ["Data/CLS-LOC/val is missing"]),
}


@pytest.mark.parametrize("name", ILSVRC)
def test_mistakes_in_ilsvrc(tmp_path, name):
    spoil, expected = ILSVRC[name]
    spoil(write_ilsvrc(tmp_path))
    with pytest.raises(UserError) as error:
        read_ilsvrc(str(tmp_path), None, None)
    for words in expected:
        assert words in str(error.value)


def test_openimages_has_masks_and_no_boxes(tmp_path):
    root = write_benchmark(tmp_path, masks=True)
    splits = read_benchmark_parts(str(root), str(root / "metadata"), str(root / "masks"), None)
    assert not splits.train.masks
    assert len(splits.test.boxes) == 0
    assert splits.test.sizes[0].tolist() == [60, 40]
    mask = read_ternary_mask(splits.test, 0, None)
    assert set(np.unique(mask)) == {-1, 0, 1}
    assert set(np.unique(read_ternary_mask(splits.test, 1, None))) == {0, 1}


def benchmark(f, file, start, new, part="test"):
    replace_line(f / "metadata" / part / file, start, new)


BENCHMARK = {
    "size": (
        lambda f: benchmark(f, "image_sizes.txt", "test/0/1", "test/0/1.jpg,50,40"),
        ["image_sizes.txt", "test/0/1.jpg is listed with 50 x 40", "has 60 x 40"],
    ),
    "outside": (
        lambda f: benchmark(f, "localization.txt", "test/0/1", "test/0/1.jpg,5,5,90,20"),
        ["localization.txt", "test/0/1.jpg", "exceeds its image"],
    ),
    "missing part": (lambda f: (f / "metadata/test").rename(f / "x"), ["the split test is missing"]),
    "class": (
        lambda f: benchmark(f, "class_labels.txt", "test/0/1", "test/0/1.jpg,7"),
        ["test/class_labels.txt", "class 7 has no training image"],
    ),
    "above": (lambda f: benchmark(f, "image_ids.txt", "test/0/1", "../x.jpg"), ["image_ids.txt, line 2"]),
    "absolute": (lambda f: benchmark(f, "image_ids.txt", "test/0/1", "/etc/x.jpg"), ["image_ids.txt, line 2"]),
    "id twice": (
        lambda f: benchmark(f, "image_ids.txt", "test/0/1", "test/0/0.jpg"),
        ["image_ids.txt, line 2", "is listed twice"],
    ),
    "NaN": (
        lambda f: benchmark(f, "localization.txt", "test/0/1", "test/0/1.jpg,nan,5,9,20"),
        ["localization.txt, line 2", "nan"],
    ),
    "reversed": (
        lambda f: benchmark(f, "localization.txt", "test/0/1", "test/0/1.jpg,9,5,3,20"),
        ["localization.txt, line 2", "ends before it begins"],
    ),
    "columns": (
        lambda f: benchmark(f, "localization.txt", "test/0/1", "test/0/1.jpg,9,5,3"),
        ["localization.txt, line 2", "<image id>,<x0>,<y0>,<x1>,<y1>"],
    ),
    "not UTF-8": (
        lambda f: (f / "metadata/test/image_ids.txt").write_bytes(b"test/0/0.jpg\n\xe9.jpg\n"),
        ["image_ids.txt, line 2", "not UTF-8"],
    ),
}


@pytest.mark.parametrize("name", BENCHMARK)
def test_mistakes_in_the_benchmarks_lists(tmp_path, name):
    spoil, expected = BENCHMARK[name]
    spoil(write_benchmark(tmp_path))
    with pytest.raises(UserError) as error:
        read_benchmark_parts(str(tmp_path), str(tmp_path / "metadata"), None, None)
    for words in expected:
        assert words in str(error.value)


@pytest.mark.parametrize(
    "row", ["test/0/1.jpg,../x.png,", "test/0/1.jpg,/etc/x.png,", "test/0/1.jpg,test/0/1_m0.png,../x.png"]
)
def test_masks_outside_their_folder_are_refused(tmp_path, row):
    root = write_benchmark(tmp_path, masks=True)
    benchmark(root, "localization.txt", "test/0/1", row)
    with pytest.raises(UserError, match=r"localization\.txt: .*lies outside .*refused"):
        read_benchmark_parts(str(root), str(root / "metadata"), str(root / "masks"), None)


def test_windows_line_ends_and_byte_order_marks_are_accepted(tmp_path):
    for write, read in (
        (write_ilsvrc, lambda f: read_ilsvrc(str(f), None, None)),
        (write_benchmark, lambda f: read_benchmark_parts(str(f), str(f / "metadata"), None, None)),
    ):
        root = write(tmp_path / write.__name__)
        before = read(root)
        for path in [*root.rglob("*.txt"), *root.rglob("*.xml")]:
            path.write_bytes(b"\xef\xbb\xbf" + path.read_text().replace("\n", "\r\n").encode())
        after = read(root)
        for part in ("train", "test"):
            one, other = getattr(before, part), getattr(after, part)
            assert tuple(one.images) == tuple(other.images)
            assert np.array_equal(one.boxes, other.boxes)
            assert one.class_names == other.class_names


def test_cubv2_is_val_where_it_is_given(tmp_path):
    root = write_cub(tmp_path / "cub")
    lists = write_metadata(tmp_path / "v2", tmp_path / "photos", "val", 3, 2)
    assert read_cub_and_val(str(root), None, None).val is None
    val = read_cub_and_val(str(root), str(lists), str(tmp_path / "photos")).val
    assert len(val) == 6
    assert val.class_names == ("001.Class_0", "002.Class_1", "003.Class_2")
    replace_line(lists / "class_labels.txt", "val/2/1", "val/2/1.jpg,3")
    with pytest.raises(UserError, match="class 3, but there are 3 classes, counted from 0"):
        read_cub_and_val(str(root), str(lists), str(tmp_path / "photos"))
    with pytest.raises(UserError, match="belong together"):
        read_cub_and_val(str(root), str(lists), None)
