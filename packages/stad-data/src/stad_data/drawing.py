"""Boxes, short texts and contact sheets drawn onto uint8 images with numpy alone."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

# Told apart next to each other, on light and dark pictures, and mostly by colour-blind eyes too.
_PALETTE: tuple[Color, ...] = (
    (230, 60, 60),
    (60, 180, 250),
    (250, 200, 40),
    (60, 200, 90),
    (240, 130, 230),
    (250, 140, 40),
    (30, 220, 210),
    (150, 110, 250),
    (180, 230, 60),
    (255, 170, 170),
    (170, 110, 50),
    (230, 230, 230),
)
_DARK: Color = (0, 0, 0)
_LIGHT: Color = (255, 255, 255)
_BACKDROP: Color = (32, 32, 32)

# The 95 printable characters from space to tilde, 5 columns of 7 dots each: one byte per column
# in hex, the lowest bit on top.
_GLYPHS = (
    "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649552250 0005030000"  #  '
    "001c224100 0041221c00 14083e0814 08083e0808 0050300000 0808080808 0060600000 2010080402"  # (/
    "3e5149453e 00427f4000 4261514946 2141454b31 1814127f10 2745454539 3c4a494930 0171090503"  # 07
    "3649494936 064949291e 0036360000 0056360000 0814224100 1414141414 0041221408 0201510906"  # 8?
    "324979413e 7e1111117e 7f49494936 3e41414122 7f4141221c 7f49494941 7f09090901 3e4149497a"  # @G
    "7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f020c027f 7f0408107f 3e4141413e"  # HO
    "7f09090906 3e4151215e 7f09192946 4649494931 01017f0101 3f4040403f 1f2040201f 3f4038403f"  # PW
    "6314081463 0708700807 6151494543 007f414100 0204081020 0041417f00 0402010204 4040404040"  # X_
    "0001020400 2054545478 7f48444438 3844444420 384444487f 3854545418 087e090102 0c5252523e"  # `g
    "7f08040478 00447d4000 2040443d00 7f10284400 00417f4000 7c04180478 7c08040478 3844444438"  # ho
    "7c14141408 081414187c 7c08040408 4854545420 043f444020 3c4040207c 1c2040201c 3c4030403c"  # pw
    "4428102844 0c5050503c 4464544c44 0008364100 00007f0000 0041360800 0804081008"  # x~
)
_FIRST, _LAST = " ", "~"
_COLUMNS, _ROWS = 5, 7
_ADVANCE = _COLUMNS + 1
_MARGIN = 1  # dots around a text


def palette_color(index: int) -> Color:
    """A colour (red, green, blue) for a class or actor number; numbers 12 apart share one."""
    return _PALETTE[index % len(_PALETTE)]


def text_scale(height: int) -> int:
    """Dots-to-pixels factor at which text reads well on an image of this height; at least 1."""
    return max(1, round(height / 360))


def text_size(text: str, scale: int) -> tuple[int, int]:
    """(width, height) in pixels of the label that `draw_label` draws for a text."""
    dots = max(0, len(text) * _ADVANCE - 1)
    return (dots + 2 * _MARGIN) * scale, (_ROWS + 2 * _MARGIN) * scale


def draw_box(
    image: NDArray[np.uint8],
    box: Sequence[float] | NDArray[np.floating],
    color: Color,
    thickness: int | None = None,
) -> None:
    """Draw a box's outline in place, inside the box; parts outside the image are left out.

    Args:
        image: uint8 [H, W, 3], written to.
        box: x1, y1, x2, y2 in pixels, half-open; rounded to whole pixels.
        color: (red, green, blue).
        thickness: in pixels; None takes twice the text scale of the image. A box too thin for it
            is filled.

    Raises:
        ValueError: not an image, a box that is not finite, or a thickness under 1.
    """
    _check_image(image)
    values = [float(value) for value in box]
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        raise ValueError(f"box: expected four finite numbers x1, y1, x2, y2, found {values}")
    height, width = image.shape[:2]
    line = 2 * text_scale(height) if thickness is None else thickness
    if line < 1:
        raise ValueError(f"thickness: expected at least 1 pixel, found {line}")
    # Bounds keep huge coordinates within what rounding and slicing can hold.
    x1, x2 = (round(min(max(value, -line - 1), width + line + 1)) for value in values[::2])
    y1, y2 = (round(min(max(value, -line - 1), height + line + 1)) for value in values[1::2])
    line_x, line_y = min(line, max(0, x2 - x1)), min(line, max(0, y2 - y1))
    for left, top, right, bottom in (
        (x1, y1, x2, y1 + line_y),
        (x1, y2 - line_y, x2, y2),
        (x1, y1, x1 + line_x, y2),
        (x2 - line_x, y1, x2, y2),
    ):
        image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = color


def draw_label(
    image: NDArray[np.uint8],
    text: str,
    corner: tuple[float, float],
    color: Color,
    scale: int | None = None,
) -> None:
    """Draw a line of text on a coloured ground in place, moved and cut so that it stays inside.

    Args:
        image: uint8 [H, W, 3], written to. Where it is smaller than one line, nothing is drawn.
        text: printable ASCII; any other character is drawn as "?". A text wider than the image
            ends in "..". Empty text draws nothing.
        corner: (x, y) of the label's lower left corner: a box's upper left corner puts the label
            on top of the box.
        color: of the ground; the text is black or white, whichever stands out.
        scale: pixels per dot of the 5x7 font; None suits the image's height.

    Raises:
        ValueError: not an image, a corner that is not finite, or a scale under 1.
    """
    _check_image(image)
    if not all(math.isfinite(value) for value in corner):
        raise ValueError(f"corner: expected finite x, y, found {corner}")
    height, width = image.shape[:2]
    factor = text_scale(height) if scale is None else scale
    if factor < 1:
        raise ValueError(f"scale: expected at least 1, found {factor}")
    fitted = _fitting(text, width, factor)
    label_width, label_height = text_size(fitted, factor)
    if not fitted or label_width > width or label_height > height:
        return
    left = round(min(max(corner[0], 0), width - label_width))
    top = round(min(max(corner[1] - label_height, 0), height - label_height))
    ground = image[top : top + label_height, left : left + label_width]
    ground[:] = color
    ink = _DARK if np.dot(color, (0.299, 0.587, 0.114)) > 110 else _LIGHT
    ground[_dots(fitted, factor)] = ink


def contact_sheet(
    images: Sequence[NDArray[np.uint8]],
    columns: int,
    captions: Sequence[str] | None = None,
    *,
    scale: int | None = None,
) -> NDArray[np.uint8]:
    """Images side by side in rows, each in the upper left of its cell, captions under them.

    Args:
        images: uint8 [H, W, 3], of any sizes; at least one.
        columns: images per row.
        captions: a text for each image; None for no captions.
        scale: pixels per dot of the captions; None suits the tallest image.

    Returns:
        uint8 [rows * cell height, columns * cell width, 3], with a gap between the cells.

    Raises:
        ValueError: no image, no column, or another number of captions than images.
    """
    if not images or columns < 1:
        raise ValueError(
            f"expected at least one image and column, found {len(images)} and {columns}"
        )
    if captions is not None and len(captions) != len(images):
        raise ValueError(
            f"captions: expected one for each of {len(images)} images, found {len(captions)}"
        )
    for image in images:
        _check_image(image)
    tallest = max(image.shape[0] for image in images)
    widest = max(image.shape[1] for image in images)
    factor = text_scale(tallest) if scale is None else scale
    strip = 0 if captions is None else text_size("", factor)[1]
    gap = 2 * factor
    cell_height, cell_width = tallest + strip + gap, widest + gap
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * cell_height, columns * cell_width, 3), _BACKDROP, dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * cell_height, place % columns * cell_width
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
        if captions is not None:
            cell = sheet[top + tallest : top + tallest + strip, left : left + widest]
            draw_label(cell, captions[place], (0, strip), _BACKDROP, factor)
    return sheet


@functools.cache
def _font() -> NDArray[np.bool_]:
    """[95, 7, 5]: which dots of each character are set."""
    columns = np.frombuffer(bytes.fromhex(_GLYPHS), dtype=np.uint8).reshape(-1, _COLUMNS)
    bits = columns[:, None, :] >> np.arange(_ROWS, dtype=np.uint8)[None, :, None]
    return (bits & 1).astype(np.bool_)


def _dots(text: str, scale: int) -> NDArray[np.bool_]:
    """[height, width] of the label: where its ink goes."""
    codes = [ord(sign if _FIRST <= sign <= _LAST else "?") - ord(_FIRST) for sign in text]
    glyphs = np.pad(_font()[codes], ((0, 0), (0, 0), (0, 1)))
    line = glyphs.transpose(1, 0, 2).reshape(_ROWS, -1)[:, :-1]
    return np.pad(line, _MARGIN).repeat(scale, axis=0).repeat(scale, axis=1)


def _fitting(text: str, width: int, scale: int) -> str:
    room = (width // scale - 2 * _MARGIN + 1) // _ADVANCE
    if len(text) <= room:
        return text
    return text[: room - 2] + ".." if room > 2 else text[: max(0, room)]


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image: expected uint8 [height, width, 3], found {image.dtype} {image.shape}"
        )
