"""Photos and masks of every format, size and mode, and files that only look like photos, for `predict`."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from tests.faults import templates
from tests.faults.case import Case
from tests.faults.file_faults import ANY, HOSTILE, Fault, void

PICTURE = np.dstack([np.full((20, 30), value, np.uint8) for value in (200, 40, 90)])


def _saved(make: Callable[[], Image.Image], kind: str, **options: object) -> Fault:
    return lambda path: void(make().save(path, kind, **options))


def _png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG that says it has this size, with the pixels of a few rows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def _jpeg_of_size(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _big_text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (3 << 20), zip=True)
    return info


def _mode(mode: str) -> Callable[[], Image.Image]:
    return lambda: Image.fromarray(PICTURE).convert(mode)


def _sized(width: int, height: int) -> Callable[[], Image.Image]:
    return lambda: Image.new("RGB", (width, height), (200, 40, 90))


PHOTOS: dict[str, Fault] = {
    **{f"JPEG {mode}": _saved(_mode(mode), "JPEG") for mode in ("L", "CMYK", "YCbCr", "1")},
    **{f"PNG {mode}": _saved(_mode(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA")},
    **{f"TIFF {mode}": _saved(_mode(mode), "TIFF") for mode in ("1", "LAB", "CMYK", "F", "I", "RGBA")},
    **{kind: _saved(_mode("RGB"), kind) for kind in ("GIF", "BMP", "WEBP", "PPM", "TGA", "ICO", "PDF", "TIFF")},
    "16 bits": lambda path: void(Image.fromarray(np.full((20, 30), 50000, np.uint16)).save(path, "PNG")),
    "NaN pixels": lambda path: void(Image.fromarray(np.full((20, 30), np.nan, np.float32)).save(path, "TIFF")),
    "progressive": _saved(_mode("RGB"), "JPEG", progressive=True),
    **{f"{width} x {height}": _saved(_sized(width, height), "PNG") for width, height in ((1, 1), (1, 2000), (2000, 1), (2, 3), (1500, 1000))},
    **{f"JPEG {width} x {height}": _saved(_sized(width, height), "JPEG") for width, height in ((1, 1), (1, 2000), (7, 9))},
    **{f"EXIF orientation {n}": _saved(_mode("RGB"), "JPEG", exif=_exif(n)) for n in (0, 2, 5, 6, 8, 9, 255)},
    "EXIF of nonsense": _saved(_mode("RGB"), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"),
    "an ICC profile of nonsense": _saved(_mode("RGB"), "JPEG", icc_profile=b"nonsense"),
    "a text of megabytes": lambda path: void(Image.fromarray(PICTURE).save(path, "PNG", pnginfo=_big_text())),
    "a bomb": lambda path: void(path.write_bytes(_png(200_000, 200_000))),
    "no width": lambda path: void(path.write_bytes(_png(0, 10))),
    "a wrong header": lambda path: void(path.write_bytes(_png(30, 20, depth=3))),
    "more pixels than data": lambda path: void(path.write_bytes(_png(3000, 2000))),
    "a JPEG bomb": lambda path: void(path.write_bytes(_jpeg_of_size(65000, 65000))),
    "a JPEG without height": lambda path: void(path.write_bytes(_jpeg_of_size(30, 0))),
    "SVG": lambda path: void(path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')),
    "HTML": lambda path: void(path.write_text("<html>404 Not Found</html>")),
}  # fmt: skip
NAMES = (*(name for name in HOSTILE if name and "/" not in name), "[a]", "a,b", "a=b", "a b", "${a}", "'", '"', "*", "%s", "two\nlines", "\udcff")  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield a case for each photo with each of `predict`'s outputs."""
    for what, fault in (ANY | PHOTOS).items():
        for file in ("0.jpg", "1.png"):
            for more in (
                ("masks=polygons",),
                ("masks=png", "overlays=jpg", "max_side=20"),
                ("page=true", "save_maps=true"),
                ("decode=reduced",),
            ):
                yield Case(
                    f"photos/{what}/{file}/{more[0]}", "predict", (*templates.PREDICT, *more), ("photos", "run"),
                    lambda folder, file=file, fault=fault: fault(folder / "photos" / file),
                )  # fmt: skip
        yield Case(
            f"photos/{what}/alone", "predict", (*templates.PREDICT, "images=photos/0.jpg"), ("photos", "run"),
            lambda folder, fault=fault: fault(folder / "photos/0.jpg"),
        )  # fmt: skip
    for name in NAMES:
        for writer in ("coco", "yolo", "voc", "label_studio", "cvat"):
            yield Case(
                f"photos/named {name[:20]!r}/{writer}", "predict", (*templates.PREDICT, f"writer=[{writer}]", "page=true"), ("photos", "run"),
                lambda folder, name=name: rename(folder / "photos/0.jpg", name), must="succeed",
            )  # fmt: skip


def rename(path: Path, name: str) -> None:
    """Give a photo a hostile name."""
    path.rename(path.with_name(f"{name[:200]}.jpg"))
