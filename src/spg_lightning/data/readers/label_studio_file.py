"""Read Label Studio's JSON export: rectangles, polygons and brush masks."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from math import cos, radians, sin
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from spg_lightning.data.readers.folder_images import (
    Annotation,
    FolderImages,
    Mask,
    bounds_of,
    mask_bounds,
    read_numbers,
)
from spg_lightning.errors import UserError
from spg_lightning.localization.polygons import mask_of_polygons

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # before the names of uploaded files
IMAGE_PATH = "image_path"  # the writer's entry of a task's data: the image's path as predict was given it


def read_label_studio(tasks: list[Any], path: Path, images: FolderImages, is_predicted: bool) -> Iterator[Annotation]:
    """Yield the annotations of a file's tasks.

    Predictions are not annotations until somebody accepts them, so that they are read only where that is asked for.

    Args:
        tasks: content of the file.
        path: of the file.
        images: that it annotates.
        is_predicted: read the predictions instead of the annotations.

    Raises:
        UserError: a task is wrong, or only has predictions.
    """
    kind = "predictions" if is_predicted else "annotations"
    seen: dict[int, str] = {}
    has_any = False
    for number, task in enumerate(tasks, start=1):
        where = f"{path}, task {task.get('id', number) if isinstance(task, dict) else number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise UserError(f"{where}: it has no data; export as JSON, not as JSON-MIN")
        results = _results(task.get(kind) or [], where, is_predicted)
        has_any |= results is not None
        if not results or (index := images.find(_image_of(task["data"], where), where)) is None:
            continue
        if index in seen:
            raise UserError(f"{where}: {images.names[index]} is also the image of {seen[index]}; delete one of them")
        seen[index] = where
        for row, result in enumerate(results, start=1):
            yield from _annotation(result, index, f"{where}, result {row}", images)
    if not has_any and not is_predicted and any(task.get("predictions") for task in tasks):
        raise UserError(
            f"{path} holds predictions that nobody accepted; submit them in Label Studio and export again, or take them as they "
            f"are with {path.name}:predictions"
        )


def _results(versions: Any, where: str, is_predicted: bool) -> list[Any] | None:
    """Return the results of a task: of its only annotation, or of the one marked as ground truth; None without any."""
    try:
        valid = [version for version in versions if not version.get("was_cancelled")]
        chosen = [version for version in valid if version.get("ground_truth")] or valid
        if len(chosen) > 1:
            advice = "keep one" if is_predicted else "mark one as ground truth, or delete the others"
            raise UserError(f"{where}: {len(chosen)} {'predictions' if is_predicted else 'annotations'}; {advice}")
        return list(chosen[0]["result"]) if chosen else None
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{where}: its annotation has no result; export as JSON, not as JSON-MIN") from None


def _image_of(data: Mapping[str, Any], where: str) -> str:
    """Return the image of a task: the path that the writer left, or that of the address."""
    if isinstance(data.get(IMAGE_PATH), str):
        return str(data[IMAGE_PATH])
    texts = [value for value in data.values() if isinstance(value, str)]
    text = data["image"] if isinstance(data.get("image"), str) else texts[0] if len(texts) == 1 else None
    if text is None:
        raise UserError(f"{where}: its data has no image; name the image's path there")
    address = urlsplit(text)
    if local := parse_qs(address.query).get("d"):  # /data/local-files/?d=<path>
        return local[0]
    if "/data/upload/" in address.path:
        return UPLOADED.sub("", unquote(address.path.rpartition("/")[2]))
    return unquote(address.path).lstrip("/") if address.scheme else str(text)


def _annotation(result: Any, index: int, where: str, images: FolderImages) -> Iterator[Annotation]:
    try:
        kind, value = str(result["type"]), dict(result.get("value") or {})
        parent = result.get("parentID")
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{where}: it has no type and value; export the project again") from None
    if kind not in ("rectanglelabels", "rectangle", "polygonlabels", "polygon", "brushlabels", "brush"):
        return  # choices, texts, relations
    size = images.size(index)
    written = (result.get("original_width"), result.get("original_height"))
    if written != (None, None) and written != size:
        raise UserError(
            f"{where}: drawn on an image of {str(written[0])[:20]} x {str(written[1])[:20]} pixels, "
            f"{images.names[index]} has {size[0]} x {size[1]}; use the same image"
        )
    percent = np.array(size) / 100
    if kind.startswith("rectangle"):
        yield Annotation(index, where, _rectangle(value, percent, where))
    elif kind.startswith("polygon"):
        points = value.get("points")
        points = points if isinstance(points, list) else [None]
        pairs = [
            read_numbers(p if isinstance(p, list) else [None], 2, where, "points [x, y] in percent") for p in points
        ]
        flat = (np.array(pairs) * percent).ravel().tolist()
        if (polygon := images.checked_polygon(flat, index, where)) is not None:
            box = None if parent else bounds_of([polygon])
            yield Annotation(index, where, box, partial(mask_of_polygons, [polygon], size))
    else:
        mask = _brush(value.get("rle"), size, where)
        yield Annotation(index, where, None if parent else mask_bounds(mask), lambda: mask)


def _rectangle(value: Mapping[str, Any], percent: np.ndarray, where: str) -> tuple[float, float, float, float]:
    """Return the box around a rectangle, which may be turned about its first corner, clockwise."""
    names = ("x", "y", "width", "height", "rotation")
    numbers = [value.get(name, 0 if name == "rotation" else None) for name in names]
    x, y, width, height, turn = read_numbers(numbers, 5, where, "x, y, width and height in percent")
    first, (across, down) = np.array([x, y]) * percent, np.array([width, height]) * percent
    if not turn:
        return float(first[0]), float(first[1]), float(first[0] + across), float(first[1] + down)
    if not np.isfinite(turn):
        raise UserError(f"{where}: its rotation is not finite; correct it")
    c, s = cos(radians(turn)), sin(radians(turn))
    corners = np.array([[0, 0], [across, 0], [across, down], [0, down]]) @ np.array([[c, s], [-s, c]]) + first
    return (
        float(corners[:, 0].min()),
        float(corners[:, 1].min()),
        float(corners[:, 0].max()),
        float(corners[:, 1].max()),
    )


def _brush(packed: Any, size: tuple[int, int], where: str) -> Mask:
    """Return the pixels of Label Studio's run lengths of bits (thi.ng/rle-pack), those with any opacity."""
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(packed))
        count, word = int(bits[:32], 2), int(bits[32:37], 2) + 1
        lengths = [int(bits[37 + 4 * k : 41 + 4 * k], 2) + 1 for k in range(4)]
        if count != 4 * size[0] * size[1]:  # red, green, blue, opacity
            raise ValueError
        values = np.zeros(count, np.int64)
        done, at = 0, 53
        while done < count:
            is_run, length = bits[at] == "1", lengths[int(bits[at + 1 : at + 3], 2)]
            run = int(bits[at + 3 : at + 3 + length], 2) + 1
            at += 3 + length
            if done + run > count:
                raise ValueError
            for k in range(1 if is_run else run):
                values[done if is_run else done + k : done + run] = int(bits[at : at + word], 2)
                at += word
            done += run
    except (ValueError, TypeError, IndexError, OverflowError):
        raise UserError(f"{where}: its brush does not fill {size[0]} x {size[1]} pixels; export it again") from None
    return np.asarray(values.reshape(size[1], size[0], 4)[..., 3] > 0)
