"""From a decoded picture to an upright RGB image of the wanted size."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

_MATRIX_BYTES = 36  # nine 32-bit fixed-point numbers
_LARGEST_SIDE = 16_384


class PictureError(Exception):
    """A decoded picture cannot be shown; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Which size images get.

    Attributes:
        resize: (width, height), or None.
        short_side: pixels that the shorter side is scaled down to, or None.

    Raises:
        ValueError: both are given, or one that cannot be.
    """

    resize: tuple[int, int] | None = None
    short_side: int | None = None

    def __post_init__(self) -> None:
        resize, short_side = self.resize, self.short_side
        if resize is not None and not (min(resize) >= 1 and max(resize) <= _LARGEST_SIDE):
            raise ValueError(f"resize: expected (width, height) of 1 to 16384, found {resize}")
        if short_side is not None and short_side < 1:
            raise ValueError(f"short_side: expected 1 or more, found {short_side}")
        if resize is not None and short_side is not None:
            raise ValueError(f"expected resize or short_side, found both: {resize}, {short_side}")

    def size(self, source_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the image of a picture that is shown with `source_size`."""
        if self.resize is not None:
            return self.resize
        width, height = source_size
        if self.short_side is None or self.short_side >= min(width, height):
            return width, height
        ratio = self.short_side / min(width, height)
        return max(1, round(width * ratio)), max(1, round(height * ratio))


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How the stored picture is turned to be shown: transposed first, then flipped.

    Source: the display matrix of ISO/IEC 14496-12, 8.5.3, rounded to quarter turns and mirrors.
    """

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn an image [H, W, 3]; the result is a view."""
        if self.transposed:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) after turning, or, as turning is its own kind, before it."""
        return (height, width) if self.transposed else (width, height)


def orientation_of(picture: VideoFrame) -> Orientation:
    """Read the display matrix of a picture; none, or a broken one, means upright."""
    # A frame and its side data refer to each other, so a frame that was asked for them stays until
    # the garbage collector comes by. A tiny copy is asked instead.
    try:
        small = VideoReformatter().reformat(picture, 8, 8, "gray", threads=1)
    except (FFmpegError, ValueError):
        small = picture
    matrix = small.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData) or matrix.buffer_size < _MATRIX_BYTES:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix)[:20], dtype="=i4").tolist()
    # shown x = a x + c y, shown y = b x + d y. The largest entries decide the quarter turn.
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(flip_x=a < 0, flip_y=d < 0)
    return Orientation(transposed=True, flip_x=c < 0, flip_y=b < 0)


class ImageMaker:
    """Makes upright RGB images of one size from decoded pictures of any pixel format.

    It keeps the conversion's tables between pictures: setting them up costs more than a picture.

    Args:
        orientation: from `orientation_of` of the file's first picture.
        size: (width, height) of the images.
        scaled: True takes the mean over each target pixel's area, for pictures made smaller.
    """

    def __init__(self, orientation: Orientation, size: tuple[int, int], *, scaled: bool) -> None:
        self._orientation = orientation
        self._stored_size = orientation.size(*size)
        self._interpolation = Interpolation.AREA if scaled else Interpolation.BILINEAR
        self._reformatter = VideoReformatter()

    def make(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], a view into the converted picture.

        Raises:
            PictureError: the pixel format or size cannot be converted.
        """
        width, height = self._stored_size
        try:
            # One thread: starting more for each picture costs more than they save.
            converted = self._reformatter.reformat(
                picture, width, height, "rgb24", interpolation=self._interpolation, threads=1
            )
        except (FFmpegError, ValueError) as error:
            raise PictureError(
                f"{picture.format.name} pictures cannot be converted to RGB: {error}"
            ) from error
        plane = converted.planes[0]
        rows = np.frombuffer(cast("bytes", plane), dtype=np.uint8).reshape(-1, plane.line_size)
        image = rows[:height, : 3 * width].reshape(height, width, 3)
        return self._orientation.apply(image)
