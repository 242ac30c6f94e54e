"""Draw score maps, boxes and masks over images."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int8, UInt8
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

Photo = UInt8[np.ndarray, "Y X 3"]
Box = Sequence[float]
Colour = tuple[int, int, int]
TRUTH, PREDICTED = (64, 220, 90), (255, 196, 0)  # RGB; green and amber differ in brightness, too
FOREGROUND, BACKGROUND, IGNORED = (236, 72, 160), (28, 46, 84), (150, 150, 150)  # pink: of no box, and rare in photos

BOXES = {"ground truth": TRUTH, "predicted box": PREDICTED}
MASK = {"mask": FOREGROUND}
TERNARY = {"background": BACKGROUND, "ignored": IGNORED}

# of the 256 levels of a map; colours are multiplied by their opacity, so that a picture takes two look-ups
OPACITY = np.linspace(0.25, 0.8, 256, dtype=np.float32)[:, None]
COLOURS = (colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.float32) * OPACITY
TRANSPARENCY = 1 - OPACITY


def heat(photo: Photo, score_map: Float[np.ndarray, "Y X"]) -> Photo:
    """Blend a score map in [0, 1] over an image. Higher values are brighter and more opaque."""
    levels = (np.asarray(score_map) * 255).astype(np.uint8)
    return (TRANSPARENCY[levels] * photo + COLOURS[levels]).astype(np.uint8)


def mask(photo: Photo, ternary: Int8[np.ndarray, "Y X"]) -> Photo:
    """Blend a ternary mask over an image: foreground pink, background dark blue, ignored grey."""
    palette = np.array([BACKGROUND, FOREGROUND, IGNORED])  # ignored is -1, the last entry
    return (0.35 * photo + 0.65 * palette[ternary]).astype(np.uint8)


def cutout(photo: Photo, foreground: Bool[np.ndarray, "Y X"], outlines: Mapping[Colour, Any]) -> Photo:
    """Dim an image outside a mask, and outline masks.

    Args:
        photo: the image.
        foreground: stays as it is.
        outlines: colour -> mask (Y, X) of bool.
    """
    grey = photo.mean(-1, keepdims=True)
    drawn = np.where(foreground[..., None], photo, 0.35 * grey + 10).astype(np.uint8)
    width = max(1, round(min(photo.shape[:2]) / 192))
    for colour, mask in outlines.items():
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, colour, width, cv2.LINE_AA)
    return drawn


def boxes(photo: Photo, drawn: Sequence[tuple[Box, Colour, str]]) -> Photo:
    """Draw boxes (x0 y0 x1 y1 in pixels, colour, text) on a copy of an image."""
    image = Image.fromarray(photo)
    pen = ImageDraw.Draw(image)
    width = max(2, round(min(image.size) / 110))
    font = ImageFont.load_default(size=max(11, round(min(image.size) / 22)))
    for (x0, y0, right, bottom), colour, text in drawn:
        x1, y1 = max(right - 1, x0), max(bottom - 1, y0)
        pen.rectangle((x0, y0, x1, y1), outline=(0, 0, 0), width=width + 2)
        pen.rectangle((x0 + 1, y0 + 1, max(x1 - 1, x0 + 1), max(y1 - 1, y0 + 1)), outline=colour, width=width)
        if text:
            _write_label(image, pen, (x0, y0), text, colour, font)
    return np.asarray(image)


def _write_label(
    image: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: Colour, font: Any
) -> None:
    """Write text above a box's corner, or inside the box at the upper edge of the image."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    height, width = bottom - top + 6, right - left + 8
    x = min(max(corner[0], 0), max(image.width - width, 0))
    y = corner[1] - height if corner[1] >= height else min(corner[1], image.height - height)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + 4 - left, y + 3 - top), text, font=font, fill=(0, 0, 0))


def resize(photo: Photo, width: int, height: int) -> Photo:
    """Resize an image bicubically."""
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC))


def resize_to_fit(photo: Photo, side: int) -> Photo:
    """Return an image whose longer side has `side` pixels, in its own proportions."""
    height, width = photo.shape[:2]
    factor = side / max(height, width)
    return resize(photo, max(1, round(width * factor)), max(1, round(height * factor)))


def resize_down(photo: Photo, side: int) -> Photo:
    """Return an image whose longer side has at most `side` pixels."""
    height, width = photo.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return photo
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(photo, small, interpolation=cv2.INTER_AREA))


def resize_map(score_map: Float[np.ndarray, "y x"], width: int, height: int) -> Float[np.ndarray, "Y X"]:
    """Resize a score map bilinearly."""
    image = Image.fromarray(np.asarray(score_map, np.float32), mode="F")
    return np.clip(np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)), 0, 1)


def resize_labels(ternary: Int8[np.ndarray, "y x"], width: int, height: int) -> Int8[np.ndarray, "Y X"]:
    """Resize a ternary mask without mixing its values."""
    return np.asarray(cv2.resize(ternary, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def panel_row(panels: Sequence[tuple[str, Photo]], side: int, caption_height: int = 24) -> Photo:
    """Put captioned panels in a row on white, each in the middle of a column of `side` pixels."""
    gap, height = 6, max(panel.shape[0] for _, panel in panels)
    sheet = Image.new("RGB", (len(panels) * (side + gap) + gap, height + caption_height + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for k, (caption, panel) in enumerate(panels):
        x = gap + k * (side + gap)
        text = _shorten(caption, font, side)
        pen.text((x + side / 2, caption_height / 2), text, font=font, fill=(30, 30, 30), anchor="mm")
        corner = (x + (side - panel.shape[1]) // 2, caption_height + (height - panel.shape[0]) // 2)
        sheet.paste(Image.fromarray(panel), corner)
    return np.asarray(sheet)


def _shorten(text: str, font: Any, width: int) -> str:
    """Return a text that is at most `width` pixels wide, with "..." in its middle if it was longer."""
    kept = len(text)
    short = text
    while font.getlength(short) > width:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def legend(width: int, entries: Mapping[str, Colour], height: int = 26) -> Photo:
    """Return colours and their meanings, of the width of the picture above, in as many lines as they need."""
    font, side = ImageFont.load_default(size=13), 12
    x, lines = 8, 1
    places: list[tuple[int, int]] = []
    for text in entries:
        needed = side + 6 + round(font.getlength(text))
        if places and x + needed > width:
            x, lines = 8, lines + 1
        places.append((x, (lines - 1) * height))
        x += needed + 20
    sheet = Image.new("RGB", (width, lines * height), "white")
    pen = ImageDraw.Draw(sheet)
    for (x, y), (text, colour) in zip(places, entries.items(), strict=True):
        top = y + (height - side) // 2
        pen.rectangle((x, top, x + side, top + side), fill=colour, outline=(0, 0, 0))
        pen.text((x + side + 6, y + height / 2), text, font=font, fill=(30, 30, 30), anchor="lm")
    return np.asarray(sheet)
