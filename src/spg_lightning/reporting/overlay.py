"""Draw score maps, boxes and masks over photos."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int8, UInt8
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

Photo = UInt8[np.ndarray, "Y X 3"]
Box = Sequence[float]
Colour = tuple[int, int, int]
TRUTH, FOUND = (64, 220, 90), (255, 196, 0)  # RGB; green and amber differ in brightness, too
FOREGROUND_COLOUR, BACKGROUND_COLOUR, IGNORED_COLOUR = (255, 196, 0), (28, 46, 84), (150, 150, 150)

BOXES = {"true box": TRUTH, "box found": FOUND}
MASKS = {"mask: foreground": FOREGROUND_COLOUR, "background": BACKGROUND_COLOUR, "ignored": IGNORED_COLOUR}


def heat(photo: Photo, score_map: Float[np.ndarray, "Y X"]) -> Photo:
    """Lay a score map in [0, 1] over a photo: the higher, the brighter and the less transparent."""
    colours = colormaps["inferno"](score_map)[..., :3] * 255
    share = (0.25 + 0.55 * score_map)[..., None]
    return ((1 - share) * photo + share * colours).astype(np.uint8)


def mask(photo: Photo, ternary: Int8[np.ndarray, "Y X"]) -> Photo:
    """Show a ternary mask: foreground amber, background dark blue, ignored grey, the photo shining through."""
    palette = np.array([BACKGROUND_COLOUR, FOREGROUND_COLOUR, IGNORED_COLOUR])  # ignored is -1: the last
    return (0.35 * photo + 0.65 * palette[ternary]).astype(np.uint8)


def boxes(photo: Photo, drawn: Sequence[tuple[Box, tuple[int, int, int], str]]) -> Photo:
    """Draw boxes (x0 y0 x1 y1 in pixels, colour, text) on a copy of a photo."""
    image = Image.fromarray(photo)
    pen = ImageDraw.Draw(image)
    width = max(2, round(min(image.size) / 110))
    font = ImageFont.load_default(size=max(11, round(min(image.size) / 22)))
    for box, colour, text in drawn:
        x0, y0, x1, y1 = box[0], box[1], max(box[2] - 1, box[0]), max(box[3] - 1, box[1])
        pen.rectangle((x0, y0, x1, y1), outline=(0, 0, 0), width=width + 2)
        pen.rectangle((x0 + 1, y0 + 1, max(x1 - 1, x0 + 1), max(y1 - 1, y0 + 1)), outline=colour, width=width)
        if text:
            left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
            high, wide = bottom - top + 6, right - left + 8
            x, y = (
                min(max(x0, 0), max(image.width - wide, 0)),
                y0 - high if y0 >= high else min(y0, image.height - high),
            )
            pen.rectangle((x, y, x + wide, y + high), fill=colour)
            pen.text((x + 4 - left, y + 3 - top), text, font=font, fill=(0, 0, 0))
    return np.asarray(image)


def resize(picture: Photo, width: int, height: int) -> Photo:
    """Resize a picture."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def resize_map(score_map: Float[np.ndarray, "y x"], width: int, height: int) -> Float[np.ndarray, "Y X"]:
    """Resize a score map bilinearly."""
    resized = Image.fromarray(np.asarray(score_map, np.float32), mode="F").resize(
        (width, height), Image.Resampling.BILINEAR
    )
    return np.clip(np.asarray(resized), 0, 1)


def panel_row(panels: Sequence[tuple[str, Photo]], side: int, caption_height: int = 24) -> Photo:
    """Put captioned square panels in a row on white."""
    gap = 6
    sheet = Image.new("RGB", (len(panels) * (side + gap) + gap, side + caption_height + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for k, (caption, panel) in enumerate(panels):
        x = gap + k * (side + gap)
        pen.text((x + side / 2, caption_height / 2), caption, font=font, fill=(30, 30, 30), anchor="mm")
        sheet.paste(Image.fromarray(resize(panel, side, side)), (x, caption_height))
    return np.asarray(sheet)


def legend(width: int, entries: Mapping[str, Colour], height: int = 26) -> Photo:
    """Return a line that says what colours mean, to stand below a picture of this width."""
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    x, side = 8, 12
    for text, colour in entries.items():
        pen.rectangle((x, (height - side) // 2, x + side, (height + side) // 2), fill=colour, outline=(0, 0, 0))
        pen.text((x + side + 6, height / 2), text, font=font, fill=(30, 30, 30), anchor="lm")
        x += side + 6 + round(font.getlength(text)) + 20
    return np.asarray(sheet)
