"""The CUB reader: what it reads, and the one line it gives for each mistake."""

import numpy as np
import pytest

from spg_lightning.data import read_cub
from spg_lightning.errors import UserError
from tests.trees import replace_line, write_cub

FIRST = "001.Class_0/Photo_0.jpg"


def test_reads_the_official_layout(tmp_path):
    splits = read_cub(str(write_cub(tmp_path / "cub", segmentations=True)))
    assert splits.val is None
    assert (len(splits.train), len(splits.test)) == (12, 12)
    assert splits.train.class_names == ("001.Class_0", "002.Class_1", "003.Class_2")
    assert np.bincount(splits.test.labels).tolist() == [4, 4, 4]
    assert splits.test.images[0] == "001.Class_0/Photo_0.jpg"
    assert splits.test.sizes[0].tolist() == [60, 40]
    x0, y0, x1, y1 = splits.test.boxes_of(0)[0]
    assert (x1 - x0, y1 - y0) == (30, 20)
    assert (splits.test.root / splits.test.masks[0][0]).is_file()


def test_accepts_windows_line_ends_and_byte_order_mark(tmp_path):
    folder = write_cub(tmp_path / "cub")
    text = (folder / "images.txt").read_text()
    (folder / "images.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(read_cub(str(folder)).train) == 12


def box(row):
    return lambda f: replace_line(f / "bounding_boxes.txt", "1 ", row)


def loop(path):
    path.unlink()
    path.symlink_to(path)


MISTAKES = {
    "missing list": (lambda f: (f / "classes.txt").unlink(), ["classes.txt is missing", "dataset.root"]),
    "missing folder": (lambda f: (f / "images").rename(f / "photos"), ["images is missing"]),
    "id without box": (box(None), ["bounding_boxes.txt", "no row for image 1", FIRST]),
    "id without split": (
        lambda f: replace_line(f / "train_test_split.txt", "2 ", None),
        ["train_test_split.txt", "no row for image 2"],
    ),
    "negative width": (box("1 5 5 -3 10"), ["bounding_boxes.txt", "image 1", "width=-3", "positive"]),
    "empty box": (box("1 5 5 0 10"), ["image 1", "positive"]),
    "NaN box": (box("1 nan 5 3 10"), ["image 1", "x=nan"]),
    "box outside": (box("1 50 5 30 10"), ["image 1", FIRST, "exceeds its image", "60 x 40"]),
    "label out of range": (
        lambda f: replace_line(f / "image_class_labels.txt", "3 ", "3 9"),
        ["image_class_labels.txt", "image 3 has class 9", "1 to 3"],
    ),
    "wrong column count": (box("1 5 5 3"), ["bounding_boxes.txt, line 1", "1 5 5 3"]),
    "not a number": (box("1 5 x 3 4"), ["bounding_boxes.txt, line 1"]),
    "id twice": (
        lambda f: (f / "images.txt").write_text((f / "images.txt").read_text() + f"1 {FIRST}\n"),
        ["images.txt, line 25", "id 1 is listed twice"],
    ),
    "photo twice": (
        lambda f: replace_line(f / "images.txt", "2 ", f"2 {FIRST}"),
        ["images.txt", "images 1 and 2 are both", FIRST],
    ),
    "empty class": (
        lambda f: (f / "classes.txt").write_text((f / "classes.txt").read_text() + "4 004.Nobody\n"),
        ["classes.txt", "class 4 (004.Nobody) has no training image"],
    ),
    "class without training images": (
        lambda f: (f / "train_test_split.txt").write_text(
            "".join(f"{i} {int(i > 8 and i % 2)}\n" for i in range(1, 25))
        ),
        ["class 1 (001.Class_0) has no training image"],
    ),
    "absolute": (
        lambda f: replace_line(f / "images.txt", "1 ", "1 /etc/secret.jpg"),
        ["images.txt", "/etc/secret.jpg", "refused"],
    ),
    "not UTF-8": (
        lambda f: (f / "images.txt").write_bytes((f / "images.txt").read_bytes() + b"99 \xe9.jpg\n"),
        ["images.txt, line 25", "not UTF-8"],
    ),
    "link to itself": (lambda f: loop(f / "images" / FIRST), [FIRST, "not a readable image", "images.txt"]),
    "photo missing": (lambda f: (f / "images" / FIRST).unlink(), [FIRST, "is missing", "images.txt"]),
    "photo empty": (lambda f: (f / "images" / FIRST).write_bytes(b""), [FIRST, "not a readable image"]),
    "outside the folder": (
        lambda f: replace_line(f / "images.txt", "1 ", "1 ../../secret.jpg"),
        ["secret.jpg", "outside", "refused"],
    ),
    "no test images": (
        lambda f: (f / "train_test_split.txt").write_text("".join(f"{i} 1\n" for i in range(1, 25))),
        ["train_test_split.txt", "test"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_line(tmp_path, name):
    folder = write_cub(tmp_path / "cub")
    spoil, expected = MISTAKES[name]
    spoil(folder)
    with pytest.raises(UserError) as error:
        read_cub(str(folder))
    assert "\n" not in str(error.value)
    for words in expected:
        assert words in str(error.value)


def test_a_box_that_sticks_out_by_rounding_is_clipped(tmp_path):
    folder = write_cub(tmp_path / "cub")
    replace_line(folder / "bounding_boxes.txt", "1 ", "1 30.5 -0.4 30.0 20.0")
    assert read_cub(str(folder)).test.boxes_of(0)[0].tolist() == [30.5, 0, 60, 19.6]
