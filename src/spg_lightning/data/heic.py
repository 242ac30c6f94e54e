"""HEIC photos, as phones take them: Pillow opens them with the optional package pillow-heif."""

from functools import cache
from pathlib import Path

from PIL import Image

from spg_lightning.errors import UserError

HEIC_EXTENSIONS = (".heic", ".heif")


def open_image(path: Path) -> Image.Image:
    """Open an image file of any kind, as `Image.open` does.

    Raises:
        UserError: a HEIC file, and pillow-heif is not installed.
    """
    if path.suffix.lower() in HEIC_EXTENSIONS and not _can_open_heic():
        raise UserError(f"{path} is a HEIC photo: pip install 'spg-lightning[heic]' to read it, or save it as JPEG")
    return Image.open(path)


@cache
def _can_open_heic() -> bool:
    """Let Pillow open HEIC files, and return whether it can."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
