"""The same photos across the variants: the strips that each run's gallery has, photo by photo."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from spg_lightning.comparison.variants import Variant
from spg_lightning.errors import UserError

WIDTH = 1140  # of the widest strip on the page, in pixels; the others are drawn to the same scale


@dataclass(frozen=True)
class Strip:
    """A variant's strip of a photo, inlined."""

    label: str
    url: str
    width: int
    height: int


def strips(variants: Sequence[Variant], count: int) -> dict[str, list[Strip]]:
    """Return photo -> a strip a variant, of each variant's first seed; only photos that all of the variants drew."""
    folders = {v.label: v.runs[0].folder / "gallery" for v in variants if (v.runs[0].folder / "gallery").is_dir()}
    if not folders or not count:
        return {}
    names = [{file.name for file in folder.glob("*.png")} - {"overview.png"} for folder in folders.values()]
    common = sorted(set.intersection(*names))
    kept = [
        common[k] for k in sorted({int(i) for i in np.linspace(0, len(common) - 1, min(count, len(common))).round()})
    ]
    opened = {name: {label: _open(folder / name) for label, folder in folders.items()} for name in kept}
    widest = max((image.width for of_photo in opened.values() for image in of_photo.values()), default=WIDTH)
    scale = min(1.0, WIDTH / widest)
    return {
        Path(name).stem.replace("_", " "): [_strip(label, image, scale) for label, image in of_photo.items()]
        for name, of_photo in opened.items()
    }


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise UserError(f"{path} is no readable picture; remove it, or photos=0 leaves the galleries out") from error


def _strip(label: str, image: Image.Image, scale: float) -> Strip:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    url = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Strip(label, url, round(scale * image.width), round(scale * image.height))
