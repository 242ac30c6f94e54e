"""Pages for the tests: photos with smooth maps, names that are up to no good."""

import json
import re
from pathlib import Path

import numpy as np

from spg_lightning.localization.threshold_scan import box_of_map
from spg_lightning.predicting.page import PageSettings, file_stem, write_page, write_photo
from spg_lightning.predicting.rows import ImageRow, Prediction

SIZE = (120, 90)  # of the images; their photos on the page are smaller
THRESHOLD = 0.37
CLASSES = ("001.Old_Crow", "002.Young_Crow", "kite")
HOSTILE = [
    "<script>window.ran=1</script>",
    "\"><img src=x onerror='window.ran=1'>",
    "';window.ran=1;//",
    "`${window.ran=1}`",
    "{{ 7 * 7 }}{% raise %}",
    "two\nlines\r\u2028\u2029",
    "</script><svg onload=window.ran=1>",
    "__proto__",
    "Möwe 鳥 🐦.%41#?",
    "\udcff not utf-8",
    "x" * 240,
]


def blobs(seed: int, side: int = 40, count: int = 3) -> np.ndarray:
    """Return a smooth map of a few blobs, in [0, 1]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    peaks = [
        random.uniform(0.5, 1) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / random.uniform(0.005, 0.03))
        for cx, cy in random.random((count, 2))
    ]
    total = np.sum(peaks, axis=0)
    return (total / total.max()).astype(np.float32)


def row_of(image: str, score_map: np.ndarray, confidence: float | None = None, label: int = 0) -> ImageRow:
    box = box_of_map(score_map, THRESHOLD, SIZE)
    return ImageRow(image, (Prediction(image, *SIZE, 1, CLASSES[label], label, 0.75, 1, box, True, confidence),))


def settings(**changes) -> PageSettings:
    return PageSettings(
        **{
            "title": "Crows",
            "class_names": CLASSES,
            "threshold": THRESHOLD,
            "score_map": "b2",
            "score_maps": ("b2", "c"),
        }
        | changes
    )


def make_page(folder: Path, names: list[str], **changes) -> dict[str, np.ndarray]:
    """Write a page, the most doubtful photos first, and return the maps of its photos."""
    photo = np.full((45, 60, 3), 120, np.uint8)
    maps = {name: blobs(k) for k, name in enumerate(names)}
    rows = []
    for k, name in enumerate(names):
        row = row_of(f"photos/{name}.jpg", maps[name], (k + 1) / (len(names) + 1), k % 2)
        write_photo(folder, name, row, photo, {"b2": maps[name], "c": blobs(k + 1000)}, "b2", [(10, 10, 60, 60)])
        rows.append((name, row))
    write_page(folder, rows, settings(**changes))
    return maps


def stored(folder: Path, name: str) -> dict:
    text = (folder / "page" / "data" / f"{file_stem(name)}.js").read_text("ascii")
    return json.loads(re.fullmatch(r"SPG\.photo\((.*)\);\n", text)[1])


def index_of(folder: Path) -> tuple[dict, list]:
    text = (folder / "page" / "index.js").read_text("ascii")
    options, rows = re.fullmatch(r"SPG\.index\((.*?), \[\n(.*)\]\);\n", text, re.DOTALL).groups()
    return json.loads(options), [json.loads(line.removesuffix(",")) for line in rows.splitlines()]


# files


def as_bbox(box) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]
