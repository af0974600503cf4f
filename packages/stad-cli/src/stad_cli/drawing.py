"""Boxes with lines of text on frames, in letters that read well (Pillow's built-in font).

Suffix legend: H, W = height and width, in pixels.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stad_data.drawing import Color, draw_box

_BACKGROUND_OPACITY = 0.85


def line_width(size: tuple[int, int]) -> int:
    """Width of a box's line in a frame of (width, height)."""
    return max(2, round(min(size) / 220))


def text_height(size: tuple[int, int]) -> int:
    """Height of letters in a frame of (width, height): small, and never too small to read."""
    return max(10, round(min(size) / 30))


def draw_label(
    image: NDArray[np.uint8],
    box: NDArray[np.float64],
    text: str,
    color: Color,
    *,
    height: int,
    below: bool = False,
) -> None:
    """Write lines of text on the color's background in place: above the box, or inside its top.

    With ``below`` it goes below the box, or inside its bottom. The label is moved into the image
    where it would leave it.
    """
    mask = _text_mask(text, height)
    label_h, label_w = mask.shape
    image_h, image_w = image.shape[:2]
    top = int(box[1]) - label_h
    if below:
        top = int(np.ceil(box[3]))
        top = top - label_h if top + label_h > image_h else top
    elif top < 0:
        top = int(box[1])
    top = max(0, min(top, image_h - label_h))
    left = max(0, min(int(box[0]), image_w - label_w))
    patch = image[top : top + label_h, left : left + label_w]
    mask = mask[: patch.shape[0], : patch.shape[1], None]
    shade = patch * (1 - _BACKGROUND_OPACITY) + np.array(color) * _BACKGROUND_OPACITY
    letters = np.array(_letter_color(color))
    patch[...] = (shade * (1 - mask) + letters * mask).round().astype(np.uint8)


def _letter_color(background: Color) -> Color:
    red, green, blue = background
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 130
    return (0, 0, 0) if bright else (255, 255, 255)


@lru_cache(maxsize=512)
def _text_mask(text: str, height: int) -> NDArray[np.float64]:
    """How much of each pixel the letters cover, float64 [H, W] in [0, 1], with a small margin."""
    font = _font(height)
    margin = max(2, height // 5)
    canvas = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = canvas.multiline_textbbox((0, 0), text, font=font)
    size = (int(np.ceil(right - left)) + 2 * margin, int(np.ceil(bottom - top)) + 2 * margin)
    picture = Image.new("L", size, 0)
    ImageDraw.Draw(picture).multiline_text((margin - left, margin - top), text, font=font, fill=255)
    mask = np.asarray(picture, dtype=np.float64) / 255.0
    mask.flags.writeable = False
    return mask


@lru_cache(maxsize=16)
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=height)


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: Sequence[NDArray[np.float64]] | NDArray[np.float64],
    texts: Sequence[str],
    colors: Sequence[Color],
) -> NDArray[np.uint8]:
    """A copy of an image uint8 [H, W, 3] with boxes [N, 4] and their labels on top of all lines."""
    drawn = image.copy()
    size = (image.shape[1], image.shape[0])
    for box, color in zip(boxes, colors, strict=True):
        draw_box(drawn, box, color, line_width(size))
    for box, text, color in zip(boxes, texts, colors, strict=True):
        if text:
            draw_label(drawn, box, text, color, height=text_height(size))
    return drawn
