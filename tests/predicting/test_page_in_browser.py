"""What the page does in a browser, by clicking."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from spg_lightning.localization.regions import find_regions, mask_at_image_size
from spg_lightning.localization.threshold_scan import box_of_map, quantize
from spg_lightning.predicting.page import write_page, write_photo
from spg_lightning.predicting.rows import ImageRow
from spg_lightning.reporting.overlay import FOREGROUND, PREDICTED
from tests.predicting.browser import Page
from tests.predicting.pages import CLASSES, HOSTILE, SIZE, THRESHOLD, as_bbox, blobs, make_page, row_of, settings


@pytest.fixture
def opened(browser, tmp_path):
    """Open a page of a folder, which is closed after the test; no error may come of it."""
    pages = []

    def go(folder: Path, **size: int) -> Page:
        pages.append(Page(browser, folder, **size))
        return pages[-1]

    yield go
    for page in pages:
        page.context.close()
        assert page.errors == []
        assert all(url.startswith(("file:", "data:", "blob:")) for url in page.requests)


NAMES = ["p0", "p1", "p2", "p3", "p4", "p5"]


@pytest.fixture
def six(tmp_path):
    return tmp_path, make_page(tmp_path, NAMES)


def test_regions_in_the_browser_are_those_of_python(opened, six, tmp_path):
    """Random maps with ties, thin parts, holes and islands; the box of `box_of_map` exactly, and the regions after it."""
    page, random = opened(six[0]), np.random.default_rng(1)
    cases, expected = [], []
    for k in range(400):
        height, width = (int(side) for side in random.integers(1, 24, 2))
        score_map = random.random((height, width))
        if k % 2:
            score_map = np.round(score_map * 4) / 4 * (random.random((height, width)) > random.random() * 0.8)
        if k % 5 == 0:
            score_map = cv2.GaussianBlur(score_map, (0, 0), 1.5)
        threshold, least = float(random.random() * 0.99), float(random.random() * 0.05)
        size = (int(random.integers(1, 900)), int(random.integers(1, 900)))
        cases.append([quantize(score_map).tolist(), threshold, least, size])
        found = find_regions(score_map, threshold, size, "all", least)
        largest = [list(box_of_map(score_map, threshold, size))] if found else []
        expected.append((largest, sorted([list(region.box) for region in found])))
    cut = """(cases) => cases.map(([rows, threshold, least, size]) => {
        const levels = Uint8Array.from(rows.flat());
        const map = { width: rows[0].length, height: rows.length, levels, max: Math.max(...levels) };
        return ["largest", "all"].map((which) => SPG.regions(map, threshold, which, least, size).map((one) => one.box));
    })"""
    differing_sets = 0
    for (largest, everything), (own_largest, own) in zip(expected, page.tab.evaluate(cut, cases), strict=True):
        assert own_largest == largest
        differing_sets += sorted(own) != everything
    # where several regions tie, find_regions and box_of_map may keep different small ones
    assert differing_sets == 0


def test_masks_in_the_browser_are_those_of_python(opened, six):
    page, size = opened(six[0]), (203, 151)
    outline = """([rows, threshold, size]) => {
        const levels = Uint8Array.from(rows.flat());
        const map = { width: rows[0].length, height: rows.length, levels, max: Math.max(...levels) };
        const polygons = SPG.regions(map, threshold, "largest", 0, size)[0].outline();
        return [polygons, polygons.map((one) => SPG.simplify(one, 0.5))];
    }"""
    for seed in range(20):
        score_map = blobs(seed, 48, 4)
        region = find_regions(score_map, 0.3, size)[0]
        mask = mask_at_image_size(score_map, 0.3, region, size)
        for polygons in page.tab.evaluate(outline, [quantize(score_map).tolist(), 0.3, size]):
            drawn = np.zeros(size[::-1], np.uint8)
            # pixel centres lie at integers in OpenCV, and in the middle of pixels in COCO
            cv2.fillPoly(
                drawn, [np.round((np.reshape(p, (-1, 2)) - 0.5) * 16).astype(np.int32) for p in polygons], 1, shift=4
            )
            assert (mask & drawn.astype(bool)).sum() / (mask | drawn.astype(bool)).sum() > 0.96


def test_accepted_boxes_are_the_predicted_ones(opened, six, tmp_path):
    from pycocotools.coco import COCO

    folder, maps = six
    page = opened(folder)
    for name in NAMES[:3]:
        page.tile(name).locator("[data-status=accepted]").click()
    page.tile("p3").locator("[data-status=rejected]").click()
    page.tile("p4").locator("[data-status=nothing]").click()
    page.settle()
    assert page.counts() == [6, 1, 3, 1, 1]
    page.save(tmp_path / "saved.json")
    coco = COCO(str(tmp_path / "saved.json"))
    images = {image["file_name"]: image for image in coco.dataset["images"]}
    assert sorted(images) == [f"photos/{name}.jpg" for name in [*NAMES[:3], "p4"]]
    assert all((image["width"], image["height"]) == SIZE for image in images.values())
    assert [c["name"] for c in coco.dataset["categories"]] == list(CLASSES)
    assert coco.getAnnIds(imgIds=images["photos/p4.jpg"]["id"]) == []
    for k, name in enumerate(NAMES[:3]):
        (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=images[f"photos/{name}.jpg"]["id"]))
        box = box_of_map(maps[name], THRESHOLD, SIZE)
        assert annotation["bbox"] == pytest.approx(as_bbox(box), abs=0.006)
        assert annotation["category_id"] == k % 2 + 1
        mask = mask_at_image_size(maps[name], THRESHOLD, find_regions(maps[name], THRESHOLD, SIZE)[0], SIZE)
        own = coco.annToMask(annotation).astype(bool)
        assert (mask & own).sum() / (mask | own).sum() > 0.9
        assert annotation["area"] == pytest.approx(mask.sum(), rel=0.05)


def test_the_buttons_have_the_colours_of_what_they_show(opened, six):
    page = opened(six[0])
    shown = (
        """([name, colour]) => getComputedStyle(document.querySelector(`[data-show=${name}]`), "::before")[colour]"""
    )
    for name, colour, expected in (("box", "borderTopColor", PREDICTED), ("mask", "backgroundColor", FOREGROUND)):
        assert page.tab.evaluate(shown, [name, colour]) == f"rgb{expected}"


def test_without_masks_the_file_has_boxes_only(opened, six, tmp_path):
    page = opened(six[0])
    page.tile("p0").locator("[data-status=accepted]").click()
    page.tab.click("[data-show=mask]")
    (annotation,) = page.save(tmp_path / "saved.json")["annotations"]
    assert annotation["segmentation"] == []
    assert annotation["area"] == pytest.approx(annotation["bbox"][2] * annotation["bbox"][3], abs=0.5)


def test_keys_decide_step_and_undo(opened, six):
    page = opened(six[0])
    page.tile("p0").locator(".picture").focus()
    page.press("a", "r", "ArrowRight", "n")
    assert [status for _, status in sorted(page.statuses().items())] == [
        "accepted", "rejected", "undecided", "nothing", "undecided", "undecided",
    ]  # fmt: skip
    page.press("u", "u")
    assert page.counts() == [6, 5, 1, 0, 0]
    page.press("ArrowLeft", "Enter")
    name = page.tab.locator("#name")
    shown = name.text_content()
    page.press("ArrowRight")
    assert name.text_content() == NAMES[NAMES.index(shown) + 1]
    page.press("r")
    assert page.statuses()[NAMES[NAMES.index(shown) + 1]] == "rejected"
    assert name.text_content() == NAMES[NAMES.index(shown) + 2]
    page.press("u", "Escape")
    assert page.counts() == [6, 5, 1, 0, 0]
    assert page.tab.evaluate("document.activeElement.className") == "picture"


def test_letters_in_the_search_decide_nothing(opened, six):
    page = opened(six[0])
    page.press("/")
    page.tab.keyboard.type("arnu p3")
    assert page.counts() == [6, 6, 0, 0, 0]
    page.tab.fill("#search", "p3")
    assert list(page.statuses()) == ["p3"]


def test_orders_and_filters(opened, tmp_path):
    make_page(tmp_path, NAMES)
    rows = [(name, row_of(f"{name}.jpg", blobs(k), c, k % 2)) for k, (name, c) in enumerate(zip(NAMES, [0.9, 0.2, 0.5, 0.1, 0.7, 0.3], strict=True))]  # fmt: skip
    write_page(tmp_path, [*rows, ("broken", ImageRow("broken.jpg", error="broken.jpg: damaged"))], settings())
    page = opened(tmp_path)
    assert list(page.statuses()) == ["p3", "p1", "p5", "p2", "p4", "p0", "broken"]
    page.tab.select_option("#order", "name")
    assert list(page.statuses())[:6] == NAMES
    page.tab.select_option("#class", "1")
    assert list(page.statuses()) == ["p1", "p3", "p5"]
    page.tile("p3").locator("[data-status=accepted]").click()
    page.settle()
    page.tab.click("[data-filter=accepted]")
    assert list(page.statuses()) == ["p3"]
    page.tab.select_option("#class", "")
    page.tab.click("[data-filter=all]")
    assert "broken.jpg: damaged" in page.tile("broken").inner_text()
    assert page.tile("broken").locator("[data-status=accepted]").is_disabled()


def test_the_threshold_changes_what_is_accepted_later(opened, six, tmp_path):
    """The shared slider moves the boxes of undecided photos, and none that was accepted."""
    folder, maps = six
    page = opened(folder)
    page.tile("p0").locator("[data-status=accepted]").click()
    page.settle()
    page.slide("threshold", 0.7)
    page.tile("p1").locator("[data-status=accepted]").click()
    page.settle()
    page.tab.select_option("#map", "c")
    page.settle()
    page.tile("p2").locator("[data-status=accepted]").click()
    page.open("p3")
    page.slide("own-threshold", 0.2)
    page.press("a")
    expected = [(maps["p0"], THRESHOLD), (maps["p1"], 0.7), (blobs(1002), 0.7), (blobs(1003), 0.2)]
    page.press("Escape")
    for annotation, (score_map, threshold) in zip(
        page.save(tmp_path / "saved.json")["annotations"], expected, strict=True
    ):
        assert annotation["bbox"] == pytest.approx(as_bbox(box_of_map(score_map, threshold, SIZE)), abs=0.006)


def test_all_regions(opened, six, tmp_path):
    folder, maps = six
    page = opened(folder)
    page.tab.click("[data-regions=all]")
    page.slide("area", 0.02)
    page.slide("threshold", 0.5)
    page.tab.click("#accept-rest")
    page.wait("document.querySelector('[data-filter=accepted] b').textContent === '6'")
    found = page.save(tmp_path / "saved.json")["annotations"]
    boxes = [list(region.box) for m in maps.values() for region in find_regions(m, 0.5, SIZE, "all", 0.02)]
    assert len(boxes) > len(NAMES)
    np.testing.assert_allclose([a["bbox"] for a in found], [as_bbox(box) for box in boxes], atol=0.006)
    page.press("u")
    assert page.counts() == [6, 6, 0, 0, 0]


def test_drawn_and_corrected_boxes(opened, six, tmp_path):
    page = opened(six[0])
    page.open("p2")
    page.drag((20, 15), (90, 70))
    page.drag((90, 70), (100, 80))  # its corner
    page.drag((20, 50), (30, 45))  # its left edge
    page.tab.select_option("#own-class", "2")
    page.press("a", "Escape")
    (annotation,) = page.save(tmp_path / "saved.json")["annotations"]
    assert annotation["bbox"] == pytest.approx([30, 15, 70, 65], abs=0.5)
    assert annotation["category_id"] == 3
    page.press("u", "u", "u")  # the decision, the class, the edge
    page.open("p2")
    page.press("a", "Escape")
    assert page.save(tmp_path / "saved.json")["annotations"][0]["bbox"] == pytest.approx([20, 15, 80, 65], abs=0.5)


def test_a_correction_of_an_accepted_photo_is_saved(opened, six, tmp_path):
    folder, maps = six
    page = opened(folder)
    page.tile("p1").locator("[data-status=accepted]").click()
    page.open("p1")
    page.drag((5, 5), (60, 50))
    page.tab.locator("#corners input").nth(2).fill("75")
    page.tab.locator("#corners input").nth(2).press("Tab")
    page.settle()
    assert page.counts() == [6, 5, 1, 0, 0]
    page.press("Escape")
    assert page.save(tmp_path / "saved.json")["annotations"][0]["bbox"] == pytest.approx([5, 5, 70, 45], abs=0.5)
    page.press("u", "u")
    saved = page.save(tmp_path / "saved.json")["annotations"][0]["bbox"]
    assert saved == pytest.approx(as_bbox(box_of_map(maps["p1"], THRESHOLD, SIZE)), abs=0.006)


def test_decisions_outlive_the_page_and_travel_as_a_file(opened, six, tmp_path):
    page = opened(six[0])
    for name, status in (("p0", "accepted"), ("p1", "rejected"), ("p2", "nothing")):
        page.tile(name).locator(f"[data-status={status}]").click()
    page.open("p3")
    page.drag((20, 15), (90, 70))
    page.press("a", "Escape")
    statuses, saved = page.statuses(), page.save(tmp_path / "saved.json")
    page.tab.reload()
    page.settle()
    assert page.statuses() == statuses
    other = opened(six[0])  # another browser, which knows nothing
    assert other.counts() == [6, 6, 0, 0, 0]
    other.tab.set_input_files("#file", tmp_path / "saved.json")
    other.settle()
    assert other.statuses() == statuses
    assert other.save(tmp_path / "again.json")["annotations"] == saved["annotations"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"decisions": [["p0", {"status": "accepted"}], ["p9", {"status": "rejected"}], ["p1", 3], 5]}',
     '{"decisions": [["p0", {"status": "<b>", "threshold": 7, "boxes": "x"}]]}'],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_decides_nothing(opened, six, tmp_path, content):
    page = opened(six[0])
    (tmp_path / "foreign.json").write_text(content)
    page.tab.set_input_files("#file", tmp_path / "foreign.json")
    page.settle()
    assert page.counts() == [6, 6, 0, 0, 0]
    assert page.tab.locator("#message").text_content()


def test_a_file_of_another_tool_can_be_loaded(opened, six, tmp_path):
    page = opened(six[0])
    images = [{"id": 7, "file_name": "photos/p2.jpg", "width": SIZE[0], "height": SIZE[1]}]
    own = [{"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 40]}]
    (tmp_path / "foreign.json").write_text(json.dumps({"images": images, "annotations": own, "categories": []}))
    page.tab.set_input_files("#file", tmp_path / "foreign.json")
    page.settle()
    (annotation,) = page.save(tmp_path / "saved.json")["annotations"]
    assert (annotation["bbox"], annotation["category_id"]) == ([10, 20, 30, 40], 2)


def test_a_map_without_a_region_cannot_be_accepted(opened, tmp_path):
    empty = np.zeros((8, 8), np.float32)
    write_photo(tmp_path, "a", row_of("a", empty), np.zeros((9, 12, 3), np.uint8), {"b2": empty}, "b2")
    write_page(tmp_path, [("a", row_of("a", empty))], settings())
    page = opened(tmp_path)
    page.tile("a").locator("[data-status=accepted]").click()
    page.settle()
    assert "no box" in page.tab.locator("#message").text_content()
    assert page.counts() == [1, 1, 0, 0, 0]


def test_hostile_names_run_nothing(opened, tmp_path):
    make_page(tmp_path, HOSTILE, title=HOSTILE[0], class_names=HOSTILE, score_maps=("b2", "c", HOSTILE[1]))
    page = opened(tmp_path)
    assert page.tab.locator("h1").text_content() == HOSTILE[0]
    assert page.counts()[0] == len(HOSTILE)
    assert list(page.statuses()) == HOSTILE
    page.tab.locator("#grid li .picture").first.focus()
    page.press("a")
    page.tab.locator("#grid li .picture").first.click()
    for k, name in enumerate(HOSTILE):
        assert page.tab.locator("#name").text_content() == name
        page.tab.select_option("#own-class", str(k))
        page.press("a" if k % 2 == 0 else "n")
    page.press("Escape")
    saved = page.save(tmp_path / "saved.json")
    assert [image["file_name"] for image in saved["images"]] == [f"photos/{name}.jpg" for name in HOSTILE]
    assert [category["name"] for category in saved["categories"]] == HOSTILE
    page.tab.reload()
    page.settle()
    assert page.counts() == [len(HOSTILE), 0, 6, 0, 5]
    assert page.tab.evaluate("window.ran") is None
    assert page.tab.locator("#grid img[src=x], svg[onload]").count() == 0


def test_photos_come_as_they_are_scrolled_to_and_go_again(opened, tmp_path):
    names = [f"n{k:03d}" for k in range(300)]
    make_page(tmp_path, names)
    page = opened(tmp_path)
    first = page.tab.locator("#grid canvas").count()
    assert 0 < first < 60
    assert len([url for url in page.requests if "/data/" in url]) < 60
    for _ in range(40):
        page.tab.mouse.wheel(0, 4000)
        page.tab.wait_for_timeout(60)
    page.settle()
    assert page.tab.locator("#grid li").count() == 300
    assert page.tab.locator("#grid canvas").count() < 60
    assert page.tab.locator("#grid li").first.locator("canvas").count() == 0
    assert page.tab.locator("#grid li").last.locator("canvas").count() == 1
    page.tab.evaluate("scrollTo(0, 0)")
    page.tab.wait_for_timeout(300)
    page.settle()
    assert page.tab.locator("#grid li").first.locator("canvas").count() == 1
    assert len([url for url in page.requests if url.endswith("/data/n000.js")]) == 2  # dropped, and loaded again


def test_a_slider_redraws_at_once(opened, tmp_path):
    names = [f"n{k:02d}" for k in range(60)]
    make_page(tmp_path, names)
    page = opened(tmp_path, width=1900, height=2200)
    assert page.tab.locator("#grid canvas").count() == 60
    times = []
    for k in range(8):
        page.slide("threshold", 0.1 + 0.05 * k)
        times.append(page.tab.evaluate("SPG.redrawMilliseconds"))
    assert min(times) < 100


def test_the_page_fits_a_phone(opened, six):
    page = opened(six[0], width=375, height=667)
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 375
    page.open("p0")
    for status in ("accepted", "rejected", "nothing"):
        assert page.tab.locator(f"[data-decide={status}]").bounding_box()["y"] < 667
    assert page.tab.evaluate("document.querySelector('#large').scrollWidth") <= 375


def test_every_control_has_a_name(opened, six):
    page = opened(six[0])
    page.open("p0")
    unnamed = """() => [...document.querySelectorAll("button, select, input")].filter((one) =>
        !(one.getAttribute("aria-label") || one.title || one.textContent.trim() || one.labels?.[0]?.textContent.trim()))
        .map((one) => one.outerHTML)"""
    assert page.tab.evaluate(unnamed) == []
