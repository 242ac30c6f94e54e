"""The review page: photos whose boxes a person accepts, rejects or corrects in a browser, without a server.

`write_photo` writes a photo and its score maps while predicting, `write_page` the page around them at the end. The browser
cuts the maps itself (`page_regions.js`), so that threshold and regions can be changed on the page.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps

from spg_lightning.localization.regions import Box
from spg_lightning.localization.threshold_scan import quantize
from spg_lightning.predicting.rows import ImageRow, Prediction
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.utils.atomic import atomically, replacing
from spg_lightning.utils.file_names import LONGEST_NAME

FOLDER = "page"
PHOTO_SIDE, QUALITY = 640, 85  # of the photos on the page
DEFLATE_LEVEL = 3  # level 6 takes four times as long for a sixth less
UNSAFE = frozenset('<>:"/\\|?*#%')  # not allowed in file names somewhere, or of a meaning in addresses
ASSETS = ("page.css", "page_regions.js", "page.js")


@dataclass(frozen=True)
class PageSettings:
    """What the page begins with.

    Attributes:
        title: of the page.
        class_names: in the order of the class indices.
        threshold: fraction of a map's maximum, in [0, 1).
        score_map: label of the map that is shown first.
        score_maps: labels of all maps that the photos may have, to choose from.
        regions: "largest" or "all".
        min_area: share of the map, in [0, 1]; smaller regions are left out, except the largest.
    """

    title: str
    class_names: Sequence[str]
    threshold: float
    score_map: str
    score_maps: Sequence[str] = ()
    regions: str = "largest"
    min_area: float = 0.0


def write_photo(
    folder: Path,
    name: str,
    row: ImageRow,
    photo: UInt8[np.ndarray, "Y X 3"],
    maps: Mapping[str, Float[np.ndarray, "y x"]],
    chosen: str,
    truth: Sequence[Box] = (),
) -> None:
    """Write one photo of the page: page/photos/<name>.jpg, and its score maps in page/data/<name>.js.

    Several threads may call it at once, for different photos. An image without a row in `write_page` is not on the page.

    Args:
        folder: the output folder of the prediction.
        name: unique file name of the image's results, without extension (`utils.file_names`).
        row: of the image.
        photo: its RGB pixels, at any size.
        maps: score maps in [0, 1] by label, of any size, each of the whole image.
        chosen: label of the map that makes the boxes.
        truth: ground-truth boxes in pixels of the image.

    Raises:
        UserError: a map has values outside [0, 1].
        ValueError: `chosen` is not among the maps.
        OSError: a file cannot be written.
    """
    if chosen not in maps:
        raise ValueError(f"chosen={chosen!r} is not among the maps {', '.join(maps)}")
    page, stem = folder / FOLDER, file_stem(name)
    first = row.objects[0] if row.objects else None
    data = {
        "file": stem,
        "width": first.width if first else photo.shape[1],
        "height": first.height if first else photo.shape[0],
        "chosen": chosen,
        "maps": [[label, *_packed(quantize(score_map, label))] for label, score_map in maps.items()],
        "classes": [[p.class_index, round(p.score, 4)] for p in row.objects if p.region == 1],
        "truth": [list(map(float, box)) for box in truth],
    }
    with replacing(page / "photos" / f"{stem}.jpg") as file:
        file.write(_jpeg(photo))
    with replacing(page / "data" / f"{stem}.js") as file:
        file.write(f"SPG.photo({_script_json(data)});\n".encode("ascii"))


def write_page(
    folder: Path,
    rows: Iterable[tuple[str, ImageRow]],
    settings: PageSettings,
    overlaps: Mapping[str, float] | None = None,
) -> Path:
    """Write the page around the photos of `write_photo` and return its path.

    Args:
        folder: the output folder of the prediction.
        rows: name and row of each image; iterated once.
        settings: what the page begins with.
        overlaps: IoU of the predicted box with the ground truth by name, to sort by; None without ground truth.

    Raises:
        OSError: a file cannot be written.
    """
    page, sources = folder / FOLDER, files("spg_lightning.predicting")
    options = asdict(settings) | {
        "score_maps": list(dict.fromkeys([settings.score_map, *settings.score_maps])),
        "class_names": list(settings.class_names),
        "class_titles": [short_name(name) for name in settings.class_names],
        "colours": {"truth": overlay.TRUTH, "box": overlay.PREDICTED, "mask": overlay.FOREGROUND},
        "heat": (colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(int).ravel().tolist(),
    }
    for asset in ASSETS:
        with atomically(page / asset) as file:
            file.write((sources / asset).read_bytes())
    with atomically(page / "index.js", "w", encoding="ascii") as file:
        file.write(f"SPG.index({_script_json(options)}, [\n")
        for name, row in rows:
            file.write(f"{_script_json(_index_row(name, row, (overlaps or {}).get(name)))},\n")
        file.write("]);\n")
    template = jinja2.Environment(autoescape=True).from_string((sources / "page.html").read_text(encoding="utf-8"))
    path = page / "index.html"
    with atomically(
        path, "w", encoding="utf-8", errors="xmlcharrefreplace"
    ) as file:  # last: what it refers to is complete
        file.write(template.render(title=settings.title))
    return path


def file_stem(name: str) -> str:
    """Return the file name, without extension, of a photo on the page: its name, or a hash of one that is no safe address."""
    if name.isprintable() and not UNSAFE & set(name) and len(name.encode()) <= LONGEST_NAME:
        return name
    return f"photo-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _index_row(name: str, row: ImageRow, overlap: float | None) -> list[Any]:
    """Return what the page sorts, filters and exports by, in the order that page.js reads."""
    stem = file_stem(name)
    first: Prediction | None = row.objects[0] if row.objects else None
    known = (
        [first.width, first.height, first.class_index, first.score, first.box_confidence, first.presence, first.found]
        if first
        else [0, 0, None, None, None, None, False]
    )
    rounded = [round(value, 4) if isinstance(value, float) else value for value in [*known, overlap]]
    return [name, 0 if stem == name else stem, row.image, row.error, *rounded]


def _packed(levels: UInt8[np.ndarray, "y x"]) -> tuple[int, int, str]:
    """Return width, height and the bytes of a map: differences along both axes, modulo 256, deflated, as base64."""
    rows = np.diff(levels, axis=0, prepend=np.uint8(0))
    packed = zlib.compress(np.diff(rows, axis=1, prepend=np.uint8(0)).tobytes(), DEFLATE_LEVEL)
    return levels.shape[1], levels.shape[0], base64.b64encode(packed).decode("ascii")


def _jpeg(photo: UInt8[np.ndarray, "Y X 3"]) -> bytes:
    small = overlay.resize_down(photo, PHOTO_SIDE)
    return cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _script_json(value: Any) -> str:
    """Return JSON that is also a safe expression of a script: ASCII, and no tag in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
