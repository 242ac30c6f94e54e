"""The review page: its files."""

import base64
import re
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import quantize
from spg_lightning.predicting.page import PHOTO_SIDE, file_stem, write_page, write_photo
from spg_lightning.predicting.rows import ImageRow
from tests.predicting.pages import (
    HOSTILE,
    SIZE,
    THRESHOLD,
    blobs,
    index_of,
    make_page,
    row_of,
    settings,
    stored,
)


def test_a_map_travels_without_loss(tmp_path):
    score_map = np.random.default_rng(0).random((13, 29)).astype(np.float32)
    write_photo(tmp_path, "a", ImageRow("a"), np.zeros((5, 7, 3), np.uint8), {"m": score_map}, "m")
    label, width, height, packed = stored(tmp_path, "a")["maps"][0]
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(height, width)
    levels = steps.cumsum(0, dtype=np.uint8).cumsum(1, dtype=np.uint8)
    assert label == "m"
    np.testing.assert_array_equal(levels, quantize(score_map))


@pytest.mark.parametrize(
    ("shape", "expected"), [((900, 1800), (320, 640)), ((50, 20), (50, 20)), ((3000, 2), (640, 1))]
)
def test_photos_have_a_longest_side(tmp_path, shape, expected):
    photo = np.zeros((*shape, 3), np.uint8)
    photo[..., 0] = 200
    write_photo(tmp_path, "a", ImageRow("a"), photo, {"m": blobs(0)}, "m")
    shown = np.asarray(Image.open(tmp_path / "page" / "photos" / "a.jpg"))
    assert shown.shape[:2] == expected
    assert max(shown.shape) <= PHOTO_SIDE
    assert shown[..., 0].mean() > 150 > 50 > shown[..., 2].mean()  # RGB stays RGB


def test_no_map_outside_its_range_and_no_unknown_choice(tmp_path):
    photo = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(UserError, match="hot: values must lie in"):
        write_photo(tmp_path, "a", ImageRow("a"), photo, {"hot": 2 * blobs(0)}, "hot")
    with pytest.raises(ValueError, match="'d' is not among the maps b2"):
        write_photo(tmp_path, "a", ImageRow("a"), photo, {"b2": blobs(0)}, "d")
    assert not list(tmp_path.rglob("*.js"))


def test_the_index_is_streamed_and_replaced_whole(tmp_path):
    make_page(tmp_path, ["a", "b"])
    before = index_of(tmp_path)

    def broken():
        yield "a", row_of("a.jpg", blobs(0))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_page(tmp_path, broken(), settings())
    assert index_of(tmp_path) == before
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_the_index_has_what_the_page_sorts_by(tmp_path):
    rows = [("a", row_of("p/a.jpg", blobs(0), 0.123456)), ("b", ImageRow("p/b.jpg", error="damaged"))]
    write_page(tmp_path, iter(rows), settings(), {"a": 0.5})
    options, (first, second) = index_of(tmp_path)
    assert first == ["a", 0, "p/a.jpg", "", *SIZE, 0, 0.75, 0.1235, None, True, 0.5]
    assert second[:4] == ["b", 0, "p/b.jpg", "damaged"]
    assert options["class_titles"] == ["Old Crow", "Young Crow", "kite"]
    assert options["threshold"] == THRESHOLD


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leaves_its_place(tmp_path, name):
    make_page(tmp_path, [name], title=name, class_names=[name])
    page = tmp_path / "page"
    assert [path.parent for path in page.glob("data/*")] == [page / "data"]
    for path in [page / "index.js", *page.glob("data/*")]:
        assert not set("<>") & set(path.read_text("ascii"))
    assert index_of(tmp_path)[1][0][0] == name
    html = (page / "index.html").read_text("utf-8", errors="strict")
    assert html.count("<script") == 3
    assert "onerror" not in re.sub(r"&[#\w]+;.*?\n", "", html)


def test_file_names_differ_and_plain_ones_stay():
    assert file_stem("folder_Möwe 1.x") == "folder_Möwe 1.x"
    assert len({file_stem(name) for name in [*HOSTILE, "a/b", "a\\b", "a?b"]}) == len(HOSTILE) + 3


def test_several_threads_write_photos(tmp_path):
    jobs = [
        threading.Thread(target=write_photo, args=(tmp_path, f"p{k}", ImageRow("p"), np.zeros((9, 9, 3), np.uint8), {"m": blobs(k)}, "m"))
        for k in range(12)
    ]  # fmt: skip
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len({stored(tmp_path, f"p{k}")["maps"][0][3] for k in range(12)}) == 12


# in a browser
