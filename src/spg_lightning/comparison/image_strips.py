"""Show the same images across variants: the gallery strips of each variant's first seed, image by image."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from spg_lightning.comparison.variants import Variant
from spg_lightning.errors import UserError
from spg_lightning.reporting.samples import evenly_spaced_indices
from spg_lightning.utils.pipes import refuse_pipe

MAX_WIDTH = 1140  # pixels of the widest strip on the page; the others have the same scale


@dataclass(frozen=True)
class Strip:
    """A variant's strip of an image, as a data URL."""

    label: str
    url: str
    width: int
    height: int


def image_strips(variants: Sequence[Variant], count: int) -> dict[str, list[Strip]]:
    """Return image -> one strip per variant, for up to `count` images that every variant drew."""
    folders = {v.label: v.runs[0].files.gallery for v in variants if v.runs[0].files.gallery.is_dir()}
    if not folders or not count:
        return {}
    names = [{file.name for file in folder.glob("*.png")} - {"overview.png"} for folder in folders.values()]
    common = sorted(set.intersection(*names))
    chosen = [common[index] for index in evenly_spaced_indices(len(common), count)]
    images = {name: {label: _open(folder / name) for label, folder in folders.items()} for name in chosen}
    widest = max((image.width for row in images.values() for image in row.values()), default=MAX_WIDTH)
    scale = min(1.0, MAX_WIDTH / widest)
    return {
        Path(name).stem.replace("_", " "): [_strip(label, image, scale) for label, image in row.items()]
        for name, row in images.items()
    }


def _open(path: Path) -> Image.Image:
    refuse_pipe(path)
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise UserError(
            f"{path} is not a readable image; remove it, or leave out the galleries with photos=0"
        ) from error


def _strip(label: str, image: Image.Image, scale: float) -> Strip:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    url = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Strip(label, url, round(scale * image.width), round(scale * image.height))
